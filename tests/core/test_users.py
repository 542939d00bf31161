from fastzero_core import FastZero, User


def test_x(fz: FastZero, ana: User) -> None:
    assert fz.users.get("ANA") == ana
def test_y(fz: FastZero, ana: User) -> None:
    assert fz.users.get("ANA") == ana
