"""The HTML report holds all it shows."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from perception.visualization.curves import latency_figure, loss_figure, precision_recall_figure
from perception.visualization.report import Report


def test_a_report_is_one_file_with_nothing_to_fetch(tmp_path):
    report = Report("run <1>")
    report.section("metrics", "a & b")
    report.table(["class", "AP"], [["car", 0.73456], ["bus", math.nan]])
    report.picture(np.zeros((10, 20, 3), dtype=np.uint8), "from above", width=300)
    report.figure(precision_recall_figure({"car": [1.0, 0.5, 0.0]}, "2 m"))
    report.figure(loss_figure([1, 2], {"loss": [2.0, 1.0]}))
    report.figure(latency_figure({"network": [10.0, 11.0]}))
    page = report.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.findall(r'href="http', page)
    assert page.count("<figure>") == 4
    assert "run &lt;1&gt;" in page
    assert "0.7346" in page
    assert "–" in page


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="a row has 1 cells, the header 2"):
        Report("r").table(["class", "AP"], [["car"]])
