"""What a run says while it goes on: redacted, one line, nothing that a terminal obeys."""

import pytest

from dlqanalysis.display.progress import Progress

SECRET = "hunter2-s3cr3t"


@pytest.mark.parametrize("way", ["a caller's", "standard output", "a table"])
def test_what_is_said_has_no_secret_and_no_control_sign(way, capsys):
    lines: list[str] = []
    progress = Progress(lines.append if way == "a caller's" else None)
    progress.say(f"stopped: password={SECRET} of jo@mail.example\x1b[2J\r\nnext \u202e<b>line</b>")
    shown = {
        "a caller's": "\n".join(lines),
        "standard output": capsys.readouterr().out.rstrip("\n"),
        "a table": repr(progress),
    }[way]
    assert shown.count("stopped: ") == 1 and "next" in shown
    assert SECRET not in shown and "jo@mail" not in shown and shown.isprintable()
    assert SECRET not in progress._repr_html_() and "<b>" not in progress._repr_html_()


def test_a_stage_is_named_without_its_secrets():
    lines: list[str] = []
    progress = Progress(lines.append)
    progress._said -= 60  # as if the last line were a minute old
    progress.stage(f"mails password={SECRET}", {"sent": 3, "failed_again": 0}, "about 30 s")
    assert lines and "3 sent; about 30 s left" in lines[0] and SECRET not in lines[0]
    assert SECRET not in repr(progress) and SECRET not in progress._repr_html_()
