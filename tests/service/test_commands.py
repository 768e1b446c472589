"""`confide model`, `confide score` and `confide serve` as a user types them."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.api.tokens import OFFLINE, Caller, Role, mint, read_keys
from server.cli import command_line
from server.releases.book import Trial
from shared.errors import (
    Conflict,
    EnvironmentFault,
    FeedRefused,
    NotFound,
    Refused,
    ReleaseRefused,
    UsageError,
)
from shared.outcomes import open_outcomes
from tests.service.kit import Kit, name_of, real_now
from tests.support import ROOT

START_S = 60.0


@pytest.fixture
def live(tmp_path):
    """Return a federation whose release is of now, with its feeds as files."""
    kit = Kit(tmp_path)
    now = real_now()
    kit.live = kit.serve(created=now, now=now)
    kit.files = []
    for party, raw in kit.feeds(manifest=kit.live.manifest, as_of=now[:10], created=now).items():
        kit.files.append(tmp_path / f"{party}.feed")
        kit.files[-1].write_bytes(raw)
    return kit


def run(kit, *arguments):
    """Run a command in this process; return its output, or raise its error."""
    result = CliRunner().invoke(command_line(), [*arguments, "--federation", str(kit.path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def data(kit, *arguments):
    return json.loads(run(kit, *arguments, "--format", "json"))["data"]


def with_feeds(kit):
    return [word for path in kit.files for word in ("--feeds", str(path))]


def test_releases_are_listed_shown_and_verified(live):
    assert "champion" in run(live, "model", "list")
    assert data(live, "model", "list")[0]["state"] == "champion"
    shown = data(live, "model", "show")
    assert shown["signed_by"] == list(live.federation.holders)
    assert [change["action"] for change in shown["log"]] == ["take", "promote"]
    text = run(live, "model", "show", "scorecard-0001")
    assert "quorum 4" in text
    assert "auc 0.7800" in text
    assert "in order: form, federation" in run(live, "model", "verify")


def test_promotion_rollback_and_retirement_from_the_command_line(live):
    now = real_now()
    live.registry.take(live.release(2, created=now), live.federation, now)
    promoted = run(live, "model", "promote", "scorecard-0002", "--reason", "better")
    assert promoted == "scorecard-0002 is champion now\n"
    assert data(live, "model", "rollback", "--reason", "worse")["name"] == "scorecard-0001"
    assert data(live, "model", "retire", "scorecard-0002")["state"] == "retired"
    log = live.registry.book().log
    assert [change.reason for change in log if change.release == "scorecard-0002"][1:] == [
        "better",
        "worse",
        "by hand",
    ]


def test_a_challenger_is_tried_on_its_share_from_the_command_line(live):
    now = real_now()
    live.registry.take(live.release(2, created=now), live.federation, now)
    tried = run(live, "model", "try", "scorecard-0002", "--slots", "500", "--reason", "carefully")
    assert tried == "scorecard-0002 decides for 500 of 10,000 customers\n"
    assert live.registry.book().trial == Trial("scorecard-0002", 500, "scorecard-0002")
    assert data(live, "model", "try", "scorecard-0002", "--slots", "0")["slots"] == 0
    assert live.registry.book().trial is None
    with pytest.raises(UsageError, match="decides for nobody"):
        run(live, "model", "try", "scorecard-0002", "--slots", "0")


def test_what_became_of_lines_is_written_signed_and_nothing_of_a_day_to_come(live, tmp_path):
    out = tmp_path / "outcomes.json"
    today = date.fromisoformat(real_now()[:10])
    year = ["--since", str(today - timedelta(days=360)), "--until", str(today), "--out", str(out)]
    with pytest.raises(EnvironmentFault, match="there is no log key"):
        run(live, "line", "outcomes", *year)
    pin = run(live, "log", "init").split()[0]
    told = data(live, "line", "outcomes", *year)
    assert told == {"file": str(out), "customers": 0, "bad": 0, "key": pin}
    found = open_outcomes(out.read_bytes(), pin, "outcomes.json")
    assert (found.bad, found.until) == ({}, str(today))
    assert out.stat().st_mode & 0o777 == 0o600
    out.unlink()
    ahead = [*year[:3], str(today + timedelta(days=2)), *year[4:]]
    for given, kind in ((ahead, Conflict), (["--since", "x", *year[2:]], UsageError)):
        with pytest.raises(kind):
            run(live, "line", "outcomes", *given)
        assert not out.exists()


def test_errors_of_the_model_commands_keep_their_class(live, tmp_path):
    with pytest.raises(NotFound, match="scorecard-0001"):
        run(live, "model", "verify", "scorecard-0007")
    empty = Kit(tmp_path / "empty")
    assert run(empty, "model", "list") == "no release yet\n"
    with pytest.raises(NotFound, match="confide model promote"):
        run(empty, "model", "show")
    path = live.registry.folder / "scorecard-0001" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"auc":0.78', b'"auc":0.99'))
    with pytest.raises(ReleaseRefused) as caught:
        run(live, "model", "verify")
    assert caught.value.check == "signature"


def test_score_needs_no_server(live):
    answer = data(live, "score", name_of(2), *with_feeds(live))
    assert answer["limit_minor"] == 4_000_000
    assert answer["score"]["grade"] == "A"
    text = run(live, "score", name_of(0), *with_feeds(live))
    assert re.search(r"score 3\d\d of 950, grade E, default_prob 0\.\d{4}", text)
    assert "P-GRADE" in text
    assert "For utilisation, as the bank knows it, you have" in text
    # Nothing was kept: the feeds came for this answer only.
    with pytest.raises(EnvironmentFault, match="no score feed"):
        run(live, "score", name_of(0))


def test_score_tells_who_is_missing(live):
    text = run(live, "score", name_of(1), *with_feeds(live)[:6])
    assert "missing payments" in text


def test_score_refuses_what_is_no_pseudonym_and_what_is_no_feed(live, tmp_path):
    with pytest.raises(UsageError, match="64"):
        run(live, "score", "4711")
    with pytest.raises(EnvironmentFault, match="No such file"):
        run(live, "score", name_of(0), "--feeds", str(tmp_path / "none"))
    broken = tmp_path / "broken"
    broken.write_bytes(live.files[0].read_bytes()[:-3])
    with pytest.raises(FeedRefused) as caught:
        run(live, "score", name_of(0), "--feeds", str(broken))
    assert caught.value.check == "form"


def test_own_policy_with_its_own_pack_beside_it(live, tmp_path):
    policies = ROOT / "server" / "policies"
    text = (policies / "reference.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(text.replace("limit_minor = 4_000_000", "limit_minor = 2_600_000"))
    options = ("--policy", str(policy), *with_feeds(live))
    assert data(live, "score", name_of(2), *options)["limit_minor"] == 2_600_000
    pack = (policies / "pack_cn.toml").read_text().replace("30_000_000", "1_000_000")
    (tmp_path / "pack_cn.toml").write_text(pack)
    answer = data(live, "score", name_of(2), *options)
    assert answer["limit_minor"] == 1_000_000
    assert answer["reasons"][0]["not_about_you"]


def test_policy_of_a_jurisdiction_without_a_pack_is_refused(live, tmp_path):
    text = (ROOT / "server" / "policies" / "reference.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(text.replace('jurisdiction = "cn"', 'jurisdiction = "mars"'))
    with pytest.raises(EnvironmentFault, match=r"pack_mars\.toml"):
        run(live, "score", name_of(2), "--policy", str(policy))


class Server:
    """`confide serve` in a process of its own."""

    def __init__(self, kit, *options, program=("-m", "server.cli")):
        self.home = kit.folder / "limits"
        command = [sys.executable, *program, "serve", "--federation", str(kit.path)]
        self.process = subprocess.Popen(
            [*command, "--format", "json", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )

    def __enter__(self):
        told = b""
        while line := self.process.stdout.readline():
            told += line
            if line == b"}\n":
                break
        assert told, self.process.stderr.read().decode()
        self.data = json.loads(told)["data"]
        keys = read_keys(self.home / "token.key")
        made = mint(keys, Caller(OFFLINE, Role.OPERATOR, ""), datetime.now(UTC))
        self.headers = {"Authorization": f"Bearer {made}"}
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def get(self, path, context=None):
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        options = {"context": context} if context else {}
        connection = kind("127.0.0.1", self.data["port"], timeout=START_S, **options)
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        value = answer.status, json.loads(answer.read())
        connection.close()
        return value

    def stop(self, number):
        self.process.send_signal(number)
        return self.process.wait(START_S)


def refusal(kit, *options):
    """Return exit status and error of a `confide serve` that does not start."""
    server = Server(kit, *options)
    out, _ = server.process.communicate(timeout=START_S)
    return server.process.returncode, json.loads(out)["error"]


@pytest.mark.slow
@pytest.mark.e2e
def test_service_serves_until_it_is_told_to_stop(live):
    with Server(live, "--port", "0", *with_feeds(live)) as server:
        assert server.data["release"] == "scorecard-0001"
        status, answer = server.get(f"/v1/customers/{name_of(2)}/limit")
        assert (status, answer["limit_minor"]) == (200, 4_000_000)
        assert server.get("/readyz")[1]["status"] == "ready"
        # A second service on the same folder is refused; so is a taken port.
        status, error = refusal(live, "--port", "0")
        assert (status, error["code"]) == (3, "environment")
        assert "another limit service" in error["message"]
        assert server.stop(signal.SIGTERM) == 0
        assert server.process.stderr.read() == b""
    # Feeds given on the command line were kept.
    with Server(live, "--port", "0") as server:
        assert server.get(f"/v1/customers/{name_of(2)}/score")[0] == 200
        assert server.stop(signal.SIGINT) == 0


@pytest.mark.slow
@pytest.mark.e2e
def test_taken_port_ends_with_3_and_says_so(live):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, error = refusal(live, "--port", port)
    assert (status, error["code"]) == (3, "environment")
    assert port in error["message"]
    assert "another program has it" in error["message"]
    assert "--port 0" in error["hint"]


@pytest.mark.slow
@pytest.mark.e2e
def test_champion_that_does_not_verify_keeps_the_service_down(live):
    path = live.registry.folder / "scorecard-0001" / "signatures.json"
    good = path.read_bytes()
    path.write_bytes(good[:-5] + (b"0" if good[-5:-4] != b"0" else b"1") + good[-4:])
    status, error = refusal(live, "--port", "0")
    assert (status, error["code"]) == (4, "release-refused")
    assert "check 'signature'" in error["message"]


def test_expired_champion_keeps_the_service_down(tmp_path):
    kit = Kit(tmp_path, valid_days=1)
    then = "2026-03-01T12:00:00Z"
    kit.serve(created=then, now=then)
    with pytest.raises(ReleaseRefused) as caught:
        run(kit, "serve", "--port", "0")
    assert caught.value.check == "expiry"


def test_service_beyond_this_machine_needs_a_certificate(live, tmp_path):
    for host in ("0.0.0.0", "192.0.2.1", "limits.example", "::"):
        with pytest.raises(Refused, match="certificate"):
            run(live, "serve", "--host", host, "--port", "0")
    with pytest.raises(UsageError, match="go together"):
        run(live, "serve", "--certificate", str(tmp_path / "x"))


def test_private_key_that_others_can_read_is_refused(live, tmp_path):
    certificate, key = _certificate(tmp_path)
    key.chmod(0o644)
    with pytest.raises(Refused, match="can be read by others"):
        run(live, "serve", "--certificate", str(certificate), "--key", str(key))


@pytest.mark.slow
@pytest.mark.e2e
def test_service_over_tls(live, tmp_path):
    certificate, key = _certificate(tmp_path)
    options = ("--port", "0", "--certificate", str(certificate), "--key", str(key))
    with Server(live, *options) as server:
        assert server.data["url"].startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        assert server.get("/healthz", context)[0] == 200
        older = ssl.create_default_context(cafile=str(certificate))
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            server.get("/healthz", older)
        assert server.get("/healthz", context)[0] == 200
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            server.get("/healthz")
        assert server.stop(signal.SIGTERM) == 0


@pytest.mark.slow
@pytest.mark.e2e
def test_text_of_a_defect_stands_in_no_log(live):
    program = (
        "import sys\n"
        "from server import cli\n"
        "from server.api import views\n"
        "def broken(*_): raise ValueError('customer ' + str(4710 + 1))\n"
        "views.score_view = broken\n"
        "sys.exit(cli.main())\n"
    )
    options = ("--port", "0", *with_feeds(live))
    with Server(live, *options, program=("-c", program)) as server:
        status, answer = server.get(f"/v1/customers/{name_of(2)}/score")
        assert (status, answer["code"]) == (500, "internal")
        assert server.stop(signal.SIGTERM) == 0
        log = server.process.stderr.read().decode()
    assert answer["instance"] in log
    assert "ValueError" in log
    assert "4711" not in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.e2e
def test_service_without_a_release_starts_and_follows_the_first_promotion(live):
    shutil.rmtree(live.registry.folder)
    with Server(live, "--port", "0") as server:
        assert server.data["release"] is None
        assert server.get("/v1/model")[0] == 503
        now = real_now()
        live.serve(created=now, now=now)
        deadline = time.monotonic() + 60
        while server.get("/v1/model")[0] != 200:
            assert time.monotonic() < deadline
        assert server.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_limits_and_their_service_start_without_flower_and_torch():
    program = (
        "import sys\n"
        "import server.limits.caps.decide, server.api.app, server.commands.model\n"
        "import server.commands.score, server.commands.serve\n"
        "print([name for name in ('flwr', 'torch', 'clients') if name in sys.modules])\n"
        "assert 'fastapi' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_score_on_the_command_line_does_not_load_the_web():
    program = (
        "import sys, server.commands.score, server.commands.serve, server.commands.model\n"
        "print([name for name in ('fastapi', 'uvicorn', 'pydantic') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def _certificate(folder):
    """Write a certificate of our own for this machine; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "limits")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
