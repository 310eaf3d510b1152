# SPDX-License-Identifier: MIT
# What a page looks like: Chromium without a window takes a picture of it. No page may be fetched
# from elsewhere.
"""Screenshots."""
import os
import subprocess

from tests.support import png

CHROMIUM = "chromium-headless-shell"
SECONDS = 60
# Values of the browser's setting.
DARK, LIGHT = 0, 1


def screenshot(page, folder, width, height, scheme=LIGHT):
    """The picture of a file that a browser shows to readers who prefer a scheme."""
    target = os.path.join(folder, f"shown-{scheme}.png")
    done = subprocess.run(
        [CHROMIUM, "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile-{scheme}",
         f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},{height}",
         f"--screenshot={target}", f"file://{page}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
        env={**os.environ, "HOME": str(folder)})
    assert done.returncode == 0 and os.path.exists(target), done.stdout
    return png.read(target)
