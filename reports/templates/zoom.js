// Replaces the still picture of a time series by a chart that zooms. Without it the picture stays.
(function () {
  "use strict";
  var HEIGHT = 210, GUTTER = 62;
  function chart(place, data, panel, last) {
    var options = {
      width: place.clientWidth,
      height: last ? HEIGHT : HEIGHT - 40,
      tzDate: function (seconds) { return uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"); },
      cursor: { sync: { key: place.id }, drag: { x: true, y: false } },
      legend: { live: true },
      axes: [
        { stroke: "#5a6672", grid: { show: false }, ticks: { stroke: "#b7c0c9", width: 1 },
          values: [
            [31536000, "{YYYY}", null, null, null, null, null, null, 1],
            [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
            [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
            [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
            [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1]
          ] },
        { stroke: "#5a6672", grid: { stroke: "#dde2e7", width: 1 }, ticks: { show: false },
          size: GUTTER, label: panel.label, labelSize: 18, labelFont: "12px sans-serif" }
      ],
      series: [{ value: data.daily ? "{YYYY}-{MM}-{DD}" : "{YYYY}-{MM}-{DD} {HH}:{mm}" }].concat(
        panel.series.map(function (one) {
          return {
            label: one.label, stroke: one.colour, width: 1.2, points: { show: false },
            value: function (u, v) { return v === null || v === undefined ? "" : String(v); }
          };
        }))
    };
    var values = [panel.x].concat(panel.series.map(function (one) { return one.values; }));
    return new uPlot(options, values, place);
  }
  function enliven(source) {
    var figure = source.closest("figure"), data = JSON.parse(source.textContent);
    var place = document.createElement("div");
    place.className = "live";
    place.id = figure.id + "-live";
    figure.insertBefore(place, figure.querySelector("figcaption"));
    if (data.mark) {
      var mark = document.createElement("p");
      mark.className = "made";
      mark.textContent = data.mark;
      place.appendChild(mark);
    }
    var charts = data.panels.map(function (panel, k) {
      return chart(place, data, panel, k === data.panels.length - 1);
    });
    figure.classList.add("zooms");
    new ResizeObserver(function () {
      charts.forEach(function (one) {
        if (place.clientWidth) { one.setSize({ width: place.clientWidth, height: one.height }); }
      });
    }).observe(place);
  }
  var watcher = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        enliven(entry.target.querySelector("script.zoom"));
      }
    });
  }, { rootMargin: "400px" });
  document.querySelectorAll("script.zoom").forEach(function (source) {
    watcher.observe(source.closest("figure"));
  });
})();
