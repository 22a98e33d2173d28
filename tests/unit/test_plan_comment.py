"""The comment that reviewers decide on."""

import re

import pytest
from tests.fakes.planning import finding, planned, planned_cut

from onebaton.adapters.templates import Templates, markdown
from onebaton.errors import RefusedError
from onebaton.plan.artefact import Artefact, essence
from onebaton.plan.comment import (
    LIMITS,
    MAX_LENGTH,
    comment,
    fence,
    fitting,
    marker,
    refusal,
)
from onebaton.plan.diagnosis import Verdict

COMMANDS = ("onebaton rollout --config cluster.yaml --plan plan.json",)


def text_of(artefact: Artefact, *, limit: int = LIMITS[0]) -> str:
    shown = comment(artefact, commands=COMMANDS, ways_back=("`onebaton abort`",), limit=limit)
    return Templates().render("comments/plan.md.j2", {"c": shown, "marker": marker(artefact.zone)})


def fitted(artefact: Artefact) -> str:
    return fitting(lambda limit: text_of(artefact, limit=limit))


def as_read(text: str) -> str:
    """Without what keeps Markdown from reading more into it."""
    return re.sub(r"\\(.)", r"\1", text)


def test_what_a_reviewer_needs():
    _, artefact = planned()
    text = as_read(text_of(artefact))
    assert text.startswith("<!-- onebaton-plan zone=z -->\n### roll zone z: 6.10.0 → 6.10.5\n")
    for line in (
        "| What | 12 steps, 3 of 3 servers are not on the wanted image |",
        "| Outage | once, about 1.3 s without writes |",
        "| Rows at risk | none |",
        "| Doctor | all is well |",
        "| 3 | join z-b1, steered to lead | 4 | 3 | 3 | 0 |",
        "| 9 | hand over from server 0 (z-a1) to z-b1 | 4 | 3 | 3 | 0 |",
        "- leader: z-a1",
        "- server 1: z-a2 at http://10.0.0.12:2633/RPC2",
        "- image: onebaton/z:6.10.5 (sha256:6.10.5)",
        "- create node z-b1",
        "| node.z-b1 | create |",
        COMMANDS[0],
    ):
        assert f"\n{line}\n" in text, line
    assert text.count("<details>") == text.count("</details>") == 3


def test_a_cut_over():
    _, artefact = planned_cut(document_pool="2099 → 0", vm_import="3 → 0")
    text = as_read(text_of(artefact))
    assert "| Rows at risk | **document_pool 2099 → 0, vm_import 3 → 0**, as accepted |" in text
    assert "| Outage | once, about 2.6 s without writes |" in text
    assert "| Schema | 6.10.0 → 7.0.0 |" in text
    assert "rehearsed 2023-11-14 22:13 UTC" in text
    assert "ago" not in text
    assert "- rehearsal: rehearsals/1.json (sha256:report)" in text


def test_what_a_doctor_found_is_sorted_by_how_bad_it_is():
    found = (finding(1), finding(2, Verdict.UNKNOWN), finding(3, Verdict.OK), finding(0))
    _, artefact = planned(findings=found)
    text = as_read(text_of(artefact))
    assert "| Doctor | 1 that cannot be told, 2 to know of |" in text
    order = [text.index(f"check-000{n}") for n in (2, 0, 1)]
    assert order == sorted(order)
    assert "check-0003" not in text
    # What was measured differs from one look to the next: it is in the artefact alone.
    assert "evidence" not in text


def test_times_and_measurements_are_no_part_of_it():
    _, one = planned(findings=(finding(1),))
    _, other = planned(findings=(finding(1),), created_at=2000.0, valid_s=60.0)
    assert one != other
    assert text_of(one) == text_of(other)
    assert essence(one) == essence(other)
    _, another = planned(settings={"zone.name": "3"})
    assert essence(another) != essence(one)
    assert text_of(another) != text_of(one)


@pytest.mark.parametrize("count", [0, 300, 5000])
def test_it_is_never_too_long(count):
    _, artefact = planned(9, findings=tuple(map(finding, range(count))))
    text = fitted(artefact)
    assert len(text) <= MAX_LENGTH
    shown = text.count("**warning**")
    left = re.findall(r"… (\d+) more in plan.json", text)
    assert shown + sum(map(int, left)) >= count
    assert (shown == count) == (not left)
    assert text.rstrip().endswith("</details>")
    # All 30 steps of nine servers are there with few findings.
    if not left:
        assert text.count("\n1. ") == len(artefact.steps) == 30


def test_names_show_as_they_are_and_call_nobody():
    nasty = "<b>*x*</b> | `y` @admins [l](http://e) --> # $z$ \\ _u_\n# head"
    line = markdown(nasty)
    assert "\n" not in line
    assert "@admins" not in line
    assert not re.search(r"(?<!\\)[*`|\[\]_$<>&]", line)
    assert as_read(line).replace("\u200b", "") == " ".join(nasty.split())
    assert markdown("# head").startswith("\\#")
    assert markdown("- item").startswith("\\-")
    assert markdown("1. one").startswith("1\\.")
    assert markdown("6.10.5") == "6.10.5"


def test_commands_cannot_end_their_block():
    assert fence(["onebaton rollout"]) == "```"
    assert fence(["a ``` b", "`````"]) == "``````"


def test_that_there_is_no_plan():
    error = RefusedError(
        "the zone 'z' is not changed", details=["a|b"] * 500, resolution="Mend it."
    )
    text = fitting(
        lambda limit: Templates().render(
            "comments/refused.md.j2",
            {"c": refusal("z", error, limit=limit), "marker": marker("z")},
        )
    )
    assert text.startswith("<!-- onebaton-plan zone=z -->\n### zone z: there is no plan\n")
    assert "- a\\|b\n" in text
    assert "… 100 more in the output of `onebaton plan`" in text
    assert "→ Mend it." in text
