"""Run a program until it ends, or until the process that started this one has ended.

    python guard.py FD PROGRAM ARGUMENT…

A process killed by SIGKILL cannot end its children. So the parent holds the writing end of a pipe
and this process reads the other end, FD. Nothing is ever written: when the parent ends in any way,
the system closes its end, reading returns, and the program is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the program and return its exit code, 128 plus the number if a signal ended it."""
    # Signals are ignored: the pipe reports the parent's end, and the program must end first.
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
