from recontour.table import stage_table, text_table


def test_words_stand_left_numbers_right_and_nothing_is_a_dash() -> None:
    assert text_table(
        ("ROI", "cc", "Dice"), [("Bladder", 101.26, 0.9), ("SV", 9.0, None)], decimals=(0, 1)
    ) == "\n".join(
        [
            "ROI         cc  Dice",
            "-------  -----  ----",
            "Bladder  101.3  0.90",
            "SV         9.0     -",
        ]
    )


def test_stages_are_shown_in_milliseconds() -> None:
    assert stage_table({"affine": 0.0664, "total": 1.2}).splitlines()[2:] == ["affine    66", "total   1200"]
