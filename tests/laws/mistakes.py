"""What the tests of planted mistakes share."""

from genloss.losses.laws import check_loss


def broken(loss):
    """Returns the messages of the laws that the loss breaks, by law."""
    return {result.law: result.message for result in check_loss(loss) if result.status == "broken"}


def breaks(loss, law):
    """Asserts that a law whose sentence holds `law` is broken, and that its message tells what was found."""
    found = broken(loss)
    messages = [message for name, message in found.items() if law in name]
    assert messages, f"expected {law!r} among {found}"
    assert any(character.isdigit() for character in messages[0]) or "nan" in messages[0] or "global" in messages[0]


def keeps(loss):
    """Asserts that no law is broken."""
    assert not broken(loss)
