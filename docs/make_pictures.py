"""Makes the pictures of the docs, in pictures/, with gmc itself: `python docs/make_pictures.py`. Takes about a minute."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"

COMMANDS = """\
schedule examples/rbm.gm --chain inpaint -o inpaint.svg
compile examples/rbm.gm --train
sample runs/rbm --chain dreaming --chains 100 --out dreams.png
sample runs/rbm --chain inpaint --clamp v=data[0:64] --out inpainted.png
compile examples/label_rbm.gm --train
sample runs/label_rbm --chain any --clamp y=7 --chains 64 --out sevens.png
"""


TUTORIALS = ("schedules.md", "deep.md")
"""Pages whose Python draws their pictures."""


def main() -> None:
    """Runs the commands and the tutorials in a temporary folder, and keeps what they draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        path = os.pathsep.join([str(ROOT / "src"), *sys.path])
        for line in COMMANDS.splitlines():
            command = [sys.executable, "-m", "gmc", *line.split()]
            subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": path})
        for page in TUTORIALS:
            text = (ROOT / "docs" / "tutorials" / page).read_text(encoding="utf-8")
            code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": path})
        shutil.copy(folder / "runs/rbm/filters-v_h.png", folder / "filters.png")
        for picture in (*folder.glob("*.svg"), *folder.glob("*.png")):
            shutil.copy(picture, PICTURES / picture.name)


if __name__ == "__main__":
    main()
