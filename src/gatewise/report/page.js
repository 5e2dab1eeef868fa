// Draws the figures of the page in the colours of the reader's scheme, and again for print.
"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const pairs = JSON.parse(document.getElementById("colours").textContent);
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const plots = [...document.querySelectorAll(".plot")].map((place) => ({ place, text: place.nextElementSibling.textContent }));

  // Colours stand in the figure's JSON as whole strings: each is swapped for its dark partner.
  function figureOf(text, inDark) {
    return JSON.parse(text, (key, value) => (inDark && typeof value === "string" && Object.hasOwn(pairs, value) ? pairs[value] : value));
  }

  function draw({ place, text }, inDark, width) {
    const { data, layout } = figureOf(text, inDark);
    if (width) layout.width = width;
    else delete layout.width;
    // Plotly's own aria labels would be read besides the one of the figure.
    return Plotly.react(place, data, layout, config);
  }

  const drawAll = (inDark, width) => plots.forEach((plot) => draw(plot, inDark, width));
  drawAll(dark.matches);
  dark.addEventListener("change", () => drawAll(dark.matches));
  // Paper is white, and narrower than most screens: 180 mm at 96 dots per inch.
  window.addEventListener("beforeprint", () => drawAll(false, 680));
  window.addEventListener("afterprint", () => drawAll(dark.matches));
})();
