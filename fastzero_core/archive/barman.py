"""Run one of barman's programs, which extracts nothing outside of the folder that it is given.

barman.py MODULE [ARGUMENT...]. Before Python 3.14 an archive's members may have any path, and its author chooses them.
"""

import runpy
import sys
import tarfile


def main() -> None:
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
