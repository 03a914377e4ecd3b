// A page opened from a folder may not start workers, and search needs one: here it runs in a hidden frame instead.
if (location.protocol === "file:") window.Worker = window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    const frame = document.body.appendChild(Object.assign(document.createElement("iframe"), {hidden: true})), inside = this.inside = frame.contentWindow;
    inside.document.open(); inside.document.write("<!doctype html><body></body>"); inside.document.close();
    inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
    const load = src => new Promise((done, fail) => inside.document.body.append(Object.assign(inside.document.createElement("script"), {src, onload: done, onerror: fail})));
    inside.importScripts = (...all) => all.reduce((before, src) => before.then(() => load(src)), Promise.resolve());
    this.ready = load(new URL(url, location).href);
  }
  postMessage(data) { this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", {data}))); }
  terminate() {}
};
