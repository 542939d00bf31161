"""`poe docs`: build the manual into the package, where `fastzero docs` and the wheel take it from."""

from .site import BUILT, build

if __name__ == "__main__":
    build()
    print(f"Built {BUILT}")
