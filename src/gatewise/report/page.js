// Draws the figures of the page in the colours of the reader's scheme, and again for print.
"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // A finger on a picture scrolls the page; zooming and the tool bar are for mice.
  const mouse = window.matchMedia("(hover: hover)").matches;
  const config = { displayModeBar: mouse ? "hover" : false, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const pairs = JSON.parse(document.getElementById("colours").textContent);
  const plots = [...document.querySelectorAll(".plot")].map((place) => ({ place, text: place.nextElementSibling.textContent }));
  const LEGEND_ROW = 29;

  // Colours stand in the figure's JSON as whole strings: each is swapped for its dark partner.
  function figureOf(text, inDark) {
    return JSON.parse(text, (key, value) => (inDark && typeof value === "string" && Object.hasOwn(pairs, value) ? pairs[value] : value));
  }

  function draw({ place, text }, inDark, width) {
    const { data, layout } = figureOf(text, inDark);
    layout.width = width || place.clientWidth;
    if (!mouse) layout.dragmode = false;
    Plotly.react(place, data, layout, config);
    // On narrow screens the legend wraps; the figure grows by what the legend takes.
    const legend = place.querySelector(".legend");
    const extra = legend ? legend.getBBox().height - LEGEND_ROW : 0;
    if (extra > 4) {
      const top = (layout.margin || layout.template.layout.margin).t;
      Plotly.relayout(place, { "margin.t": top + extra, height: layout.height + extra });
    }
  }

  const drawAll = (inDark, width) => plots.forEach((plot) => draw(plot, inDark, width));
  const redraw = () => drawAll(dark.matches);
  redraw();
  dark.addEventListener("change", redraw);

  let width = window.innerWidth;
  let timer = 0;
  window.addEventListener("resize", () => {
    // On phones the height alone changes while scrolling, when the address bar goes.
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(redraw, 120);
  });
  // Paper is white, and narrower than most screens: 180 mm at 96 dots per inch.
  window.addEventListener("beforeprint", () => drawAll(false, 680));
  window.addEventListener("afterprint", redraw);
})();
