"""`poe docs`: build the manual into the package, where `fastzero docs` and the wheel take it from."""

import sys

from .site import BUILT, build

if __name__ == "__main__":
    build(pictures="--without-pictures" not in sys.argv)
    print(f"Built {BUILT}")
