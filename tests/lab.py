"JupyterLab (or voila) on loopback and a page in Chromium: what browser tests and the benchmark of the explorers share."

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
]  # WebGL without a graphics card
TOKEN = "lab-token"


@contextmanager
def serving(args: list, folder: Path, port: int, path: str = "/api/status"):
    "A server process that has answered once; it is ended with the block."
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PATH": str(ROOT / "tools/share"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        **{
            k: str(folder / v)
            for k, v in dict(
                JUPYTER_CONFIG_DIR="cfg",
                JUPYTER_RUNTIME_DIR="run",
                JUPYTER_DATA_DIR="data",
                JUPYTERLAB_SETTINGS_DIR="settings",
                JUPYTERLAB_WORKSPACES_DIR="ws",
                IPYTHONDIR="ipy",
            ).items()
        },
    }
    log = folder / "server.log"
    with open(log, "w") as out:
        p = subprocess.Popen(
            args, env=env, stdout=out, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
        try:
            began = time.time()
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)
                    break
                except Exception:
                    assert p.poll() is None, log.read_text()[-3000:]
                    assert time.time() - began < 90, f"no answer: {log.read_text()[-3000:]}"
                    time.sleep(0.2)
            yield dict(url=f"http://127.0.0.1:{port}", folder=folder)
        finally:
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def setting(folder, plugin, **values):
    p = folder / "settings" / f"{plugin}.jupyterlab-settings"
    p.parent.mkdir(parents=True, exist_ok=True)
    p.write_text(json.dumps(values))


@contextmanager
def jupyterlab(folder: Path):
    "JupyterLab over a folder, with nothing that asks other hosts."
    setting(folder, "@jupyterlab/apputils-extension/notification", fetchNews="false", checkForUpdates=False)
    setting(
        folder, "@jupyterlab/notebook-extension/tracker", windowingMode="none"
    )  # outputs off the screen stay in the page
    port = free_port()
    with serving(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={folder}",
            "--allow-root",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
        ],
        folder,
        port,
        f"/api/status?token={TOKEN}",
    ) as lab:
        yield lab


def watched(browser, url: str, width: int = 1500, height: int = 1100):
    "A page that remembers what it asked of other hosts, and its errors."
    page = browser.new_page(viewport=dict(width=width, height=height))
    page.others, page.errors = [], []
    page.on(
        "request",
        lambda r: (
            None
            if r.url.startswith((url, url.replace("http", "ws"), "data:", "blob:"))
            else page.others.append(r.url)
        ),
    )
    page.on(
        "websocket",
        lambda w: None if w.url.startswith(url.replace("http", "ws")) else page.others.append(w.url),
    )
    page.on("pageerror", lambda e: page.errors.append(str(e)[:500]))
    page.on("dialog", lambda d: (page.errors.append(f"dialog: {d.message}"), d.dismiss()))
    return page


def run_all(browser, lab, notebook: str, done: str = ".lm-explorer", wait: bool = True):
    "Open a notebook and run all of its cells."
    page = watched(browser, lab["url"])
    page.goto(f"{lab['url']}/lab/tree/{notebook}?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context?.isReady", timeout=90000)
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'",
        timeout=90000,
    )
    page.evaluate(
        "() => { window.jupyterapp.commands.execute('application:toggle-left-area'); window.__ran = false; window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => window.__ran = true); }"
    )
    page.locator(done).first.wait_for(timeout=180000)
    if wait:
        page.wait_for_function("() => window.__ran", timeout=180000)
        nothing_wrong(page)
    return page


def nothing_wrong(page):
    "No error output, no error of the page, no request to another host."
    assert (
        page.locator(
            ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"
        ).all_inner_texts()
        == []
    )
    assert (
        page.locator(
            ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']"
        ).all_inner_texts()
        == []
    )
    assert page.errors == [] and page.others == [], (page.errors, page.others)


def drag(page, slider, to: float):
    "Drag a slider's handle with the mouse to a fraction of its length."
    slider.scroll_into_view_if_needed()
    h, t = (
        slider.locator(".noUi-handle").first.bounding_box(),
        slider.locator(".noUi-base").first.bounding_box(),
    )
    y = h["y"] + h["height"] / 2
    page.mouse.move(h["x"] + h["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(t["x"] + t["width"] * to, y, steps=5)
    page.mouse.up()
