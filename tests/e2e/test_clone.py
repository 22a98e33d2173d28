"""Clones of a zone under writes: whatever is done in them, the zone does not notice.

One zone, whose tests build on each other in the order in which they stand here.
"""

import hashlib
import json
import signal
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.churn import Churn
from tests.e2e.conftest import NEW, NEXT_SCHEMA, OLD, lab_of, wait_whole
from tests.e2e.lab import Lab, Members
from tests.e2e.listening import Capture
from tests.e2e.running import Outcome, run, running, wait_until
from tests.e2e.traffic import SERVICE_TYPE, DeadlineTransport
from tests.e2e.watching import Pace

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

REFUSED = 4
CHANGES = 3
#: Longest time without an acknowledged write through production's virtual IP, in seconds, while
#: a clone is made, rolled, cut over and destroyed beside it.
MAX_GAP_S = 0.5
#: A busy machine makes it longer, and no more than so many times.
MOST_SLOWNESS = 3.0
NET = "10.201.27"
CLONES_NET = f"{NET}.0/24"
CLONES = f"""\
clones:
  subnets: [{NET}.0/25, {NET}.128/25]
  ttl: 2h
  scrub: rules.yaml
"""
RULES = """\
rules:
  - {table: user_pool, element: /USER/NAME, action: hash}
  - {table: template_pool, element: /VMTEMPLATE/TEMPLATE/CONTEXT, action: blank}
  - {table: user_pool, element: //EMAIL, action: replace, with: "user-{id}@example.org"}
"""
USER, USER_PASSWORD = "alice", "wonderland-7"
AUTHENTICATION = 256


@pytest.fixture(scope="module")
def production() -> Iterator[Lab]:
    """A zone of three on the old release with something in every pool, and later images."""
    bakes = (OLD, NEXT_SCHEMA, NEW)
    with lab_of("clone", "cln", "10.201.26", version=NEW, bakes=bakes) as made:
        (made.folder / "rules.yaml").write_text(RULES)
        with (made.folder / "cluster.yaml").open("a") as file:
            file.write(CLONES)
        destroy_clones(made)
        try:
            made.onebaton("bootstrap", "--version", OLD)
            fill(made)
            yield made
        finally:
            destroy_clones(made)


def destroy_clones(lab: Lab) -> None:
    """Whatever a test that failed, or was killed, has left of them."""
    for name in clones_of(lab):
        run(lab.command("clone", "destroy", name, "--yes", "--break-lock"))


def fill(lab: Lab) -> None:
    """Something in every pool, a hypervisor, and a user with a context of hers."""
    churn = Churn(lab.session, lab.vip, Members(lab).endpoints, hz=20.0)
    churn.start()
    wait_until("objects in every pool", lambda: not churn.unused(), timeout_s=60)
    churn.stop()
    # One of production's machines: what answers there stands for a hypervisor.
    lab.call(lab.vip, "one.host.allocate", lab.addresses("a")[0], "kvm", "kvm", 0)
    user = lab.call(lab.vip, "one.user.allocate", USER, USER_PASSWORD, "", [])
    lab.call(lab.vip, "one.user.update", user, 'EMAIL="alice@corp.example"', 1)
    template = 'NAME="hers"\nCONTEXT=[PASSWORD="context-of-alice"]'
    lab.call(lab.vip, "one.template.allocate", template)
    wait_whole(lab)


def clones_of(lab: Lab) -> list[str]:
    """Names of all clones."""
    outcome = run(lab.command("clone", "list", "--json"))
    return [clone["name"] for clone in json.loads(outcome.out)["clones"]]


def standing(lab: Lab) -> dict[str, object]:
    """Who leads in which term, and who is a member: what no clone may change."""
    seen: dict[str, object] = {"servers": lab.servers()}
    for address in lab.addresses("a"):
        raft = lab.raft(address)
        assert raft is not None
        seen[address] = (raft["STATE"], raft["TERM"])
    return seen


@contextmanager
def unnoticed(lab: Lab, *, title: str) -> Iterator[None]:
    """Production under writes does not notice what is done meanwhile."""
    before = standing(lab)
    names = [f"{lab.name}-a{number}" for number in (1, 2, 3)]
    traffic = lab.traffic(
        document_type=SERVICE_TYPE, vip_writes_hz=10.0, member_writes_hz=2.0, reads_hz=2.0
    )
    with Capture(names, CLONES_NET, f"{lab.net}.0/24", lab.folder / "packets") as capture:
        traffic.start()
        try:
            with Pace() as pace:
                yield
        finally:
            traffic.stop()
    gap, _, _ = traffic.writes["vip"].longest_gap()
    print(  # noqa: T201
        f"{title}: longest gap of production's writes {gap:.2f} s on a machine "
        f"{pace.slowness:.1f} times slower than alone"
    )
    assert capture.packets() == []
    assert standing(lab) == before
    assert gap <= MAX_GAP_S * min(pace.slowness, MOST_SLOWNESS)


def call(endpoint: str, session: str, method: str, *arguments: object) -> list:
    """A call's whole answer, with somebody's session."""
    proxy = xmlrpc.client.ServerProxy(endpoint, transport=DeadlineTransport(5.0))
    return getattr(proxy, method)(session, *arguments)


def folder_of(lab: Lab, clone: str) -> Path:
    """Where a clone's own files are."""
    return lab.folder / "state" / "clones" / clone


def session_of(lab: Lab, clone: str) -> str:
    """User and password of the clone's oneadmin."""
    return f"oneadmin:{(folder_of(lab, clone) / 'oneadmin_password').read_text().strip()}"


def machines(clone: str) -> list[str]:
    """Containers of a clone, running or not."""
    done = subprocess.run(
        ["podman", "ps", "--all", "--filter", f"label=onebaton.cluster=cln-{clone}",
         "--format", "{{.Names}}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return sorted(done.stdout.split())


def networks() -> list[str]:
    """Networks of this zone and its clones."""
    done = subprocess.run(
        ["podman", "network", "ls", "--format", "{{.Name}}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return sorted(name for name in done.stdout.split() if name.startswith("onebaton-cln"))


def test_a_clone_of_three_is_made_rolled_and_cut_over_and_production_does_not_notice(
    production: Lab,
):
    lab = production
    with unnoticed(lab, title="clone made, rolled, cut over, destroyed"):
        made = run(lab.command("clone", "try", "--size", "3", "--json"), timeout_s=300)
        made.show("clone try")
        assert made.status == 0, made.err
        told = json.loads(made.out)
        assert told["clone"]["version"] == OLD
        assert told["clone"]["source"].startswith("cln-a")
        assert machines("try") == ["cln-try-a1", "cln-try-a2", "cln-try-a3"]
        assert_apart(lab, told["endpoint"])

        status = run(lab.command("status", "--clone", "try"))
        status.show("status of the clone")
        assert "this is the clone try of the zone cln, made at" in unfolded(status.out)
        checked = run(lab.command("clone", "check", "try"))
        checked.show("clone check")
        assert checked.status == 0, checked.err

        rolled = in_clone(lab, NEW)
        assert rolled["verdict"] == "roll"
        cut = in_clone(lab, NEXT_SCHEMA, "--accept-loss", "document_pool")
        assert cut["verdict"] == "cut-over"
        assert {row["version"] for row in status_of(lab, "try")["members"]} == {NEXT_SCHEMA}

        for version, found in ((NEW, rolled), (NEXT_SCHEMA, cut)):
            plan = run(lab.command("plan", "--version", version, "--accept-loss", "document_pool"))
            plan.show(f"production's plan to {version}")
            assert plan.status == CHANGES, plan.err
            assert "in the clone try" in unfolded(plan.out)
            assert f"{found['measured_s']:.1f} s" in unfolded(plan.out)

        key = private_key(lab)
        assert_nowhere(lab, "try", key, lab.session.partition(":")[2], USER_PASSWORD)
        secret = session_of(lab, "try").partition(":")[2]
        gone = run(lab.command("clone", "destroy", "try", "--yes"))
        gone.show("clone destroy")
        assert gone.status == 0, gone.err
        assert_gone(lab, "try", secret)


def unfolded(text: str) -> str:
    """A text for people, as it is on a wide terminal."""
    return " ".join(text.split())


def status_of(lab: Lab, clone: str) -> dict:
    """What the clone's status says."""
    return json.loads(run(lab.command("status", "--clone", clone, "--json")).out)


def in_clone(lab: Lab, version: str, *words: str) -> dict:
    """Carry the whole rollout out in the one clone."""
    outcome = run(
        lab.command("rehearse", "--in", "clone", "--version", version, *words, "--json"),
        timeout_s=400,
    )
    outcome.show(f"rehearse in the clone to {version}")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["clone"] == "try"
    assert told["measured_s"] > 0
    assert json.loads((lab.folder / told["kept_as"]).read_text()) == told
    return told


def assert_apart(lab: Lab, endpoint: str) -> None:
    """No password of one opens the other; data are there, and what rules name is not."""
    own = session_of(lab, "try")
    zone = call(endpoint, own, "one.zone.info", 0, False)
    assert zone[0], zone
    assert "10.201.26." not in zone[1]
    assert f"<NAME>{lab.name}-try</NAME>" in zone[1].replace("<![CDATA[", "").replace("]]>", "")
    for session in (lab.session, f"{USER}:{USER_PASSWORD}"):
        answer = call(endpoint, session, "one.user.info", -1, False)
        assert (answer[0], answer[2]) == (False, AUTHENTICATION)
        assert call(lab.vip, session, "one.user.info", -1, False)[0]
    answer = call(lab.vip, own, "one.user.info", -1, False)
    assert (answer[0], answer[2]) == (False, AUTHENTICATION)
    users = call(endpoint, own, "one.userpool.info")[1]
    assert "@example.org" in users
    assert "corp.example" not in users
    assert f"<NAME>{USER}<" not in users
    assert hashlib.sha256(USER_PASSWORD.encode()).hexdigest() not in users
    templates = call(endpoint, own, "one.templatepool.info", -2, -1, -1)[1]
    assert "hers" in templates
    assert "context-of-alice" not in templates
    hosts = call(endpoint, own, "one.hostpool.info")[1]
    assert lab.addresses("a")[0] in hosts
    assert "kvm" not in hosts
    assert "<STATE>0</STATE>" not in hosts


def private_key(lab: Lab) -> str:
    """A line of the key that opens production's hypervisors."""
    return lab.ssh(lab.addresses("a")[0], "sed -n 5p /var/lib/one/.ssh/id_rsa").strip()


def assert_nowhere(lab: Lab, clone: str, *secrets: str) -> None:
    """None of these is in any file of the clone's machines."""
    assert all(len(secret) > 8 for secret in secrets)
    for name in machines(clone):
        done = subprocess.run(
            ["podman", "exec", "-i", name, "sh", "-c",
             "grep -rlaFf - /etc /home /opt /root /srv /tmp /usr/local /var || true"],
            input="\n".join(secrets), check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.stdout.split() == [], name


def assert_gone(lab: Lab, clone: str, secret: str) -> None:
    """No machine, network, state or secret of the clone is left."""
    assert machines(clone) == []
    assert networks() == ["onebaton-cln"]
    assert not folder_of(lab, clone).exists()
    assert clones_of(lab) == []
    found = [
        path
        for path in lab.folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert found == []
    # 10.201.27, as /proc/net/route has it: the last number first.
    assert "1BC90A" not in Path("/proc/net/route").read_text()


def test_without_a_fence_it_is_refused_and_nothing_starts(production: Lab):
    lab = production
    before = standing(lab)
    config = lab.variant("own", ("  ttl: 2h\n", "  ttl: 2h\n  fence: own\n"))
    packets = lab.folder / "packets"
    with Capture([f"{lab.name}-a1"], CLONES_NET, f"{lab.net}.0/24", packets) as capture:
        outcome = run(lab.command("clone", "create", "open", config=config))
    outcome.show("a clone without a fence")
    assert outcome.status == REFUSED
    assert "has no fence: production answers" in outcome.err
    assert f"{lab.net}.100:2633" in outcome.err
    # What looks on does see a clone that reaches production.
    assert capture.packets() != []
    (name,) = machines("open")
    state = subprocess.run(
        ["podman", "exec", name, "sh", "-c",
         "systemctl is-active opennebula; mariadb -N -e 'SHOW DATABASES'"],
        check=False, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    assert state.split()[0] != "active"
    # Refused before any data came.
    assert "opennebula" not in state.split()[1:]
    assert standing(lab) == before
    gone = run(lab.command("clone", "destroy", "open", "--yes", config=config))
    assert gone.status == 0, gone.err
    assert machines("open") == []


def changed_and_killed(lab: Lab, *words: str) -> None:
    """A clone whose making was killed between its change and its proof."""
    with running(lab.command("clone", "create", "bent", *words)) as command:
        command.wait_for_line("the copy is changed")
        command.signal(signal.SIGKILL)
        killed = command.finish()
    killed.show("clone create, killed before the proof")
    assert killed.status == -signal.SIGKILL


def in_copy(statement: str) -> None:
    """Change the database on the clone's node behind the tool's back."""
    subprocess.run(
        ["podman", "exec", "-i", "cln-bent-a1", "mariadb", "opennebula"],
        input=statement, check=True, text=True, timeout=60,
    )  # fmt: skip


def refused(lab: Lab) -> Outcome:
    """The making goes on with the proof, which refuses; nothing is started."""
    outcome = run(lab.command("clone", "create", "bent"))
    outcome.show("a copy that is still production's")
    assert outcome.status == REFUSED
    state = subprocess.run(
        ["podman", "exec", "cln-bent-a1", "systemctl", "is-active", "opennebula"],
        check=False, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    assert state.strip() != "active"
    return outcome


def test_a_copy_of_a_dump_that_is_still_productions_is_refused_before_its_start(production: Lab):
    lab = production
    before = standing(lab)
    dump = lab.folder / "dump.sql.zst"
    with dump.open("wb") as file:
        subprocess.run(
            ["podman", "exec", f"{lab.name}-a2", "sh", "-c",
             "mariadb-dump --single-transaction opennebula | zstd -q -c"],
            stdout=file, check=True, timeout=60,
        )  # fmt: skip
    changed_and_killed(lab, "--from", str(dump))
    server = f"http://{lab.addresses('a')[0]}:2633/RPC2"
    in_copy(
        "CREATE TABLE kept SELECT * FROM zone_pool; UPDATE zone_pool SET body = REPLACE(body, "  # noqa: S608
        f"'</SERVER_POOL>', '<SERVER><ENDPOINT>{server}</ENDPOINT><ID>1</ID><NAME>x</NAME>"
        "</SERVER></SERVER_POOL>')"
    )
    outcome = refused(lab)
    assert f"zone_pool names production's {lab.addresses('a')[0]}" in outcome.err

    stored = hashlib.sha256(lab.session.partition(":")[2].encode()).hexdigest()
    in_copy(
        "UPDATE zone_pool z, kept k SET z.body = k.body WHERE z.oid = k.oid; DROP TABLE kept; "  # noqa: S608
        f"UPDATE user_pool SET body = REPLACE(body, '</TEMPLATE>', '<NOTE>{stored}</NOTE>"
        "</TEMPLATE>') WHERE oid = 0"
    )
    outcome = refused(lab)
    assert "user 0 still has a secret of production (/USER/TEMPLATE/NOTE)" in outcome.err
    assert stored not in outcome.err

    note = f"<NOTE>{stored}</NOTE>"
    in_copy(f"UPDATE user_pool SET body = REPLACE(body, '{note}', '') WHERE oid = 0")  # noqa: S608
    whole = run(lab.command("clone", "create", "bent", "--json"))
    whole.show("the same, put right")
    assert whole.status == 0, whole.err
    endpoint = json.loads(whole.out)["endpoint"]
    assert call(endpoint, session_of(lab, "bent"), "one.user.info", -1, False)[0]
    assert standing(lab) == before
    dump.unlink()
    gone = run(lab.command("clone", "destroy", "bent", "--yes"))
    assert gone.status == 0, gone.err
    assert machines("bent") == []
    assert networks() == ["onebaton-cln"]
