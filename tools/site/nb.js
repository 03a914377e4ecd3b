// Figures: plotly comes from this site, and only to pages that show one; in the dark, ink and paper change places.
(() => {
  const here = document.currentScript.src, figures = [...document.querySelectorAll(".nb-figure")];
  if (!figures.length) return;
  const dark = () => document.body.dataset.mdColorScheme === "slate";
  const NIGHT = {"#1d2733": "#dbe3ec", "#2a3f5f": "#dbe3ec", "#e6eaef": "#39424f", "#ebf0f8": "#39424f", "#ffffff": "rgba(0,0,0,0)", "#dfe5ec": "#4a5563", "#cfd8e3": "#5a6675", "#111": "#eee", "#555": "#bbb", "#888": "#999"};
  const swap = text => text.replace(/"(#[0-9a-f]{3,6})"/gi, (all, c) => NIGHT[c.toLowerCase()] ? `"${NIGHT[c.toLowerCase()]}"` : all);
  const INK = "#dbe3ec", GRID = "#39424f", CLEAR = "rgba(0,0,0,0)";

  function layoutOf(layout, width) {
    const l = {...layout, autosize: true, paper_bgcolor: CLEAR};
    if (dark()) {
      Object.assign(l, {plot_bgcolor: CLEAR, font: {...l.font, color: INK}});
      for (const t of [l, (l.template || {}).layout || {}]) for (const k of Object.keys(t)) if (/^[xyz]axis/.test(k) || k === "scene") t[k] = {...t[k], gridcolor: GRID, zerolinecolor: GRID};
      for (const k of ["xaxis", "yaxis"]) l[k] = {gridcolor: GRID, zerolinecolor: GRID, ...l[k]};
      l.hoverlabel = {...l.hoverlabel, bgcolor: "#242b36", font: {color: INK}};
    }
    if (width < 500 && l.margin) l.margin = {...l.margin, l: Math.min(l.margin.l ?? 44, 44), r: Math.min(l.margin.r ?? 10, 10)};
    if (width < 500 && (l.legend || {}).orientation !== "h") l.legend = {...l.legend, orientation: "h", x: 0, xanchor: "left", y: -.2, yanchor: "top"};   // below: there is no room beside
    return l;
  }

  function draw(el) {
    const text = el.firstElementChild.textContent, f = JSON.parse(dark() ? swap(text) : text);
    if (dark()) for (const t of f.data) if (/-thin|-open/.test((t.marker || {}).symbol)) t.marker.line = {color: t.marker.color, ...t.marker.line};   // they are drawn in their outline's colour alone
    const box = el.querySelector(".nb-plot") || el.appendChild(Object.assign(document.createElement("div"), {className: "nb-plot"}));
    Plotly.react(box, f.data, layoutOf(f.layout, el.clientWidth), {responsive: true, displaylogo: false});
    if ((f.frames || []).length && !el.dataset.frames) { el.dataset.frames = 1; Plotly.addFrames(box, f.frames); }
  }

  const script = document.createElement("script");
  script.src = new URL("plotly.min.js", here);
  script.onload = () => {
    const seen = new IntersectionObserver(es => es.forEach(e => { if (e.isIntersecting) { seen.unobserve(e.target); draw(e.target); } }), {rootMargin: "600px"});
    figures.forEach(el => seen.observe(el));
    new MutationObserver(() => figures.filter(el => el.querySelector(".nb-plot")).forEach(draw)).observe(document.body, {attributes: true, attributeFilter: ["data-md-color-scheme"]});
  };
  document.head.append(script);
})();
