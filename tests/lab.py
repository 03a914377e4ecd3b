"JupyterLab (or voila) on loopback and a page in Chromium: what browser tests and a benchmark share."

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
TOKEN = "lab-token"
CHROMIUM = [  # arguments
    *("--no-sandbox", "--no-first-run", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-gpu", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"),  # WebGL without a card
]
FOLDERS = dict(  # what would else be written into a home directory
    JUPYTER_CONFIG_DIR="cfg",
    JUPYTER_RUNTIME_DIR="run",
    JUPYTER_DATA_DIR="data",
    JUPYTERLAB_SETTINGS_DIR="settings",
    JUPYTERLAB_WORKSPACES_DIR="ws",
    IPYTHONDIR="ipy",
)


# Servers


def server_environment(folder: Path) -> dict:
    "This process's environment, with one thread, the project's modules, and folders below one folder."
    modules = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = dict(OMP_NUM_THREADS="1", JUPYTER_PATH=str(ROOT / "tools/share"), PYTHONPATH=modules)
    return {**os.environ, **own, **{name: str(folder / part) for name, part in FOLDERS.items()}}


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 90):
    "Wait for a server's first answer. Fails with the end of its log if it ends, or does not answer."
    began = time.time()
    while True:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except Exception:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.time() - began < seconds, f"no answer: {log.read_text()[-3000:]}"
            time.sleep(0.2)


def end(process: subprocess.Popen):
    "End a server and what it started."
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(args: list, folder: Path, port: int, path: str = "/api/status"):
    "A server process that has answered once; it is ended with the block."
    log = folder / "server.log"
    where = dict(env=server_environment(folder), cwd=folder, start_new_session=True)
    with open(log, "w") as out:
        process = subprocess.Popen(args, stdout=out, stderr=subprocess.STDOUT, **where)
        try:
            wait_for(f"http://127.0.0.1:{port}{path}", process, log)
            yield dict(url=f"http://127.0.0.1:{port}", folder=folder)
        finally:
            end(process)


def free_port() -> int:
    "A port that nobody listens to now."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def setting(folder: Path, plugin: str, **values):
    "A setting of JupyterLab."
    file = folder / "settings" / f"{plugin}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


@contextmanager
def jupyterlab(folder: Path):
    "JupyterLab over a folder, with nothing that asks other hosts."
    setting(folder, "@jupyterlab/apputils-extension/notification", fetchNews="false", checkForUpdates=False)
    # outputs off the screen stay in the page
    setting(folder, "@jupyterlab/notebook-extension/tracker", windowingMode="none")
    port = free_port()
    args = [
        *(sys.executable, "-m", "jupyterlab"),
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]
    with serving(args, folder, port, f"/api/status?token={TOKEN}") as lab:
        yield lab


# Pages

# anywidget gives a widget two seconds to load, which Embedding Atlas needs alone on a machine that is busy
PATIENT = """
const timeout = AbortSignal.timeout.bind(AbortSignal);
AbortSignal.timeout = ms => timeout(20 * ms);
"""


def watched(browser, url: str, width: int = 1500, height: int = 1100):
    "A page that remembers what it asked of other hosts, and its errors."
    page = browser.new_page(viewport=dict(width=width, height=height))
    page.add_init_script(PATIENT)
    page.others, page.errors = [], []
    sockets = url.replace("http", "ws")

    def asked(address: str, allowed: tuple):
        if not address.startswith(allowed):
            page.others.append(address)

    def dialog(d):
        page.errors.append(f"dialog: {d.message}")
        d.dismiss()

    page.on("request", lambda request: asked(request.url, (url, sockets, "data:", "blob:")))
    page.on("websocket", lambda socket: asked(socket.url, (sockets,)))
    page.on("pageerror", lambda error: page.errors.append(str(error)[:500]))
    page.on("dialog", dialog)
    return page


READY = "() => window.jupyterapp?.shell?.currentWidget?.context?.isReady"
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
IDLE = f"() => {KERNEL}?.status === 'idle'"
RUN_ALL = """() => {
  const commands = window.jupyterapp.commands;
  commands.execute('application:toggle-left-area');
  window.__ran = false;
  commands.execute('notebook:run-all-cells').then(() => window.__ran = true);
}"""


def run_all(browser, lab, notebook: str, done: str = ".lm-explorer", wait: bool = True):
    "Open a notebook and run all of its cells."
    page = watched(browser, lab["url"])
    page.goto(f"{lab['url']}/lab/tree/{notebook}?token={TOKEN}&reset")
    page.wait_for_function(READY, timeout=90000)
    page.wait_for_function(IDLE, timeout=90000)
    page.evaluate(RUN_ALL)
    page.locator(done).first.wait_for(timeout=180000)
    if wait:
        has_run(page)
        nothing_wrong(page)
    return page


def has_run(page):
    "Wait until all cells have run."
    page.wait_for_function("() => window.__ran", timeout=180000)


def nothing_wrong(page):
    "No error output, no error of the page, no request to another host."
    for kind in ("stderr", "error"):
        outputs = page.locator(f".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.{kind}']")
        assert outputs.all_inner_texts() == []
    assert page.errors == [] and page.others == [], (page.errors, page.others)


def drag(page, slider, to: float):
    "Drag a slider's handle with the mouse to a fraction of its length."
    slider.scroll_into_view_if_needed()
    handle = slider.locator(".noUi-handle").first.bounding_box()
    track = slider.locator(".noUi-base").first.bounding_box()
    y = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * to, y, steps=5)
    page.mouse.up()
