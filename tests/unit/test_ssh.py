"""What is left of killed runs."""

import os
import socket
import time

from onebaton.adapters import ssh


def test_sockets_folders_of_killed_runs_are_swept_and_nothing_else(tmp_path):
    long_ago = time.time() - ssh.LEFTOVER_S - 1
    for name in ("ob-left", "ob-living", "ob-fresh", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.log").touch()
    (tmp_path / "ob-file").touch()
    (tmp_path / "ob-link").symlink_to(tmp_path / "other")
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(tmp_path / "ob-living" / "a"))
        for path in tmp_path.iterdir():
            if path.name != "ob-fresh":
                os.utime(path, (long_ago, long_ago), follow_symlinks=False)
        ssh._sweep(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["ob-file", "ob-fresh", "ob-link", "ob-living", "other"]
    assert (tmp_path / "other" / "a.log").exists()
