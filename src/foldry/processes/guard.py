"""Run a program until it ends, or until the process that started this one has ended.

    python guard.py FD PROGRAM ARGUMENT…

FD is the reading end of a pipe whose writing end that process alone has: nothing is ever written
there, so reading returns when it is closed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Guard the program; its exit code is returned, 128 and more for a signal."""
    # What ends the parent reaches this process through the pipe; it must first end the program.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    alive = int(sys.argv[1])
    with subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True) as child:

        def end_with_parent() -> None:
            os.read(alive, 1)
            os.killpg(child.pid, signal.SIGKILL)
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()
        code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
