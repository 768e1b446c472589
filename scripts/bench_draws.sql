-- A draw as the service writes it: a claim of the key, then one flushed transaction with the line
-- locked, its past read, and hold, drawdown, share, event, balance and answer written.
\set line random(1, :lines)
SELECT gen_random_uuid() AS id \gset
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO key (key, digest, token, at) VALUES (:id, repeat('a', 64), :id, now());
COMMIT;
BEGIN;
SELECT domain, version FROM line WHERE id = :line FOR UPDATE;
SELECT count(*), sum(amount) FROM hold WHERE line_id = :line AND at > now() - interval '1 day';
SELECT id, amount, at FROM drawdown WHERE line_id = :line ORDER BY at LIMIT 50;
UPDATE line SET outstanding = outstanding + 10000, version = version + 1
  WHERE id = :line AND limit_minor - outstanding - held >= 10000;
INSERT INTO event SELECT id, version, 10000, now() FROM line WHERE id = :line;
INSERT INTO hold VALUES (:id, :line, 10000, 'posted', now());
INSERT INTO drawdown VALUES (:id, :line, :id, 10000,
  jsonb_build_object('text', repeat('x', 2000)), now());
INSERT INTO share VALUES (:id, 'own', 10000);
UPDATE key SET status = 201, body = repeat('x', 1500)::bytea WHERE key = :id;
COMMIT;
