-- Tables of the shape that a draw writes to; see bench_draws.sql.
CREATE TABLE line (
  id int PRIMARY KEY, limit_minor bigint, outstanding bigint, held bigint, version int,
  domain jsonb, CHECK (outstanding >= 0)
);
CREATE TABLE event (line_id int REFERENCES line, version int, delta bigint, at timestamptz,
  PRIMARY KEY (line_id, version));
CREATE TABLE hold (id uuid PRIMARY KEY, line_id int REFERENCES line, amount bigint, state text,
  at timestamptz);
CREATE TABLE drawdown (id uuid PRIMARY KEY, line_id int REFERENCES line, hold_id uuid REFERENCES hold,
  amount bigint, terms jsonb, at timestamptz);
CREATE TABLE share (drawdown_id uuid REFERENCES drawdown, partner text, amount bigint,
  PRIMARY KEY (drawdown_id, partner));
CREATE TABLE key (key uuid PRIMARY KEY, digest text, token uuid, status int, body bytea,
  at timestamptz);
CREATE INDEX ON drawdown (line_id);
CREATE INDEX ON hold (line_id);
INSERT INTO line SELECT n, 1000000000000, 0, 0, 1,
  jsonb_build_object('windows', '[]'::jsonb, 'text', repeat('x', 1500))
  FROM generate_series(1, :lines) n;
