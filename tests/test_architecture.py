"""The picture of the rooms is drawn from the import rules.  ``python -m tests.test_architecture`` draws it anew."""

from __future__ import annotations

from tests.test_import_rules import ROOMS, ROOT

PICTURE = ROOT / "docs" / "img" / "rooms.svg"
_WIDTH, _HEIGHT, _GAP, _MARGIN = 218, 44, 14, 20


def floor_of(room: str) -> int:
    """0 for a room that imports no other, else one above the highest room that it may import."""
    return max((1 + floor_of(other) for other in ROOMS[room]), default=0)


def floors() -> list[list[str]]:
    """Rooms by floor, the highest first."""
    numbers = {room: floor_of(room) for room in ROOMS}
    return [sorted(room for room in ROOMS if numbers[room] == floor) for floor in range(max(numbers.values()), -1, -1)]


def drawing() -> str:
    """One row of boxes per floor, as SVG."""
    rows = floors()
    width = 2 * _MARGIN + max(map(len, rows)) * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + len(rows) * (_HEIGHT + 2 * _GAP) - 2 * _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="14">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for floor, rooms in enumerate(rows):
        y = _MARGIN + floor * (_HEIGHT + 2 * _GAP)
        start = (width - len(rooms) * (_WIDTH + _GAP) + _GAP) // 2
        for place, room in enumerate(rooms):
            x = start + place * (_WIDTH + _GAP)
            lines.append(f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#e8eef7" stroke="#4a6fa5"/>')
            lines.append(f'<text x="{x + _WIDTH // 2}" y="{y + 28}" text-anchor="middle" fill="#1b2a41">{room}</text>')
    return "\n".join([*lines, "</svg>", ""])


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == drawing(), "run `python -m tests.test_architecture`"


def test_every_room_has_a_line_in_the_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [room for room in ROOMS if f"| `{room.replace('.', '/')}` |" not in page] == []


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
