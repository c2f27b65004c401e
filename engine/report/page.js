"use strict";
(function () {
  const run = JSON.parse(document.getElementById("run").textContent);
  const charts = [];
  const painters = [];
  const linked = [];
  const money = new Intl.NumberFormat("en-US", { maximumFractionDigits: run.digits || 0 });
  const price = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value) => value.toFixed(Math.abs(value) < 10 ? 1 : 0) + " %";

  function make(id, format) {
    const place = document.getElementById(id);
    if (!place) return null;
    const chart = LightweightCharts.createChart(place, {
      autoSize: true,
      // The page keeps the wheel and the vertical swipe, so that it scrolls over a chart.
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
      layout: { background: { color: "transparent" }, attributionLogo: false, fontSize: 11 },
      rightPriceScale: { borderVisible: false, minimumWidth: 72, entireTextOnly: true },
      timeScale: { borderVisible: false, minBarSpacing: 0.02 },
      crosshair: { horzLine: { labelVisible: true } },
      localization: { locale: "en-US", priceFormatter: format, dateFormat: "yyyy-MM-dd" },
    });
    painters.push(() => chart.applyOptions({
      layout: { textColor: colour("--soft") },
      grid: { vertLines: { visible: false }, horzLines: { color: colour("--line") } },
    }));
    charts.push(chart);
    return chart;
  }

  function line(chart, shade, width, points, extra) {
    const series = chart.addSeries(LightweightCharts.LineSeries, Object.assign({
      lineWidth: width, priceLineVisible: false, lastValueVisible: false,
    }, extra));
    series.setData(points);
    painters.push(() => series.applyOptions({ color: colour(shade) }));
    return series;
  }

  const points = (times, values) => times.map((time, i) =>
    values[i] === null ? { time: time } : { time: time, value: values[i] });

  function element(tag, text, parent) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  }

  function entry(parent, tag, name, shade) {
    const item = element(tag, "", parent);
    const mark = element("i", "", item);
    painters.push(() => { mark.style.background = colour(shade); });
    element("span", name, item).style.padding = "0";
    return { item: item, value: element("b", "", item) };
  }

  // Equity, drawdown and exposure share one time axis: moving one moves all.
  function link(chart) {
    linked.push(chart);
    chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (!range) return;
      linked.forEach((other) => {
        const seen = other.timeScale().getVisibleLogicalRange();
        const same = seen && Math.abs(seen.from - range.from) < 0.01 && Math.abs(seen.to - range.to) < 0.01;
        if (other !== chart && !same) other.timeScale().setVisibleLogicalRange(range);
      });
    });
  }

  function ranges(parent, chart, count) {
    const choices = [["All", 0], ["5 years", 1260], ["1 year", 252], ["3 months", 63]];
    const buttons = [];
    choices.filter((choice) => choice[1] < count).forEach((choice) => {
      const button = element("button", choice[0], parent);
      button.type = "button";
      button.setAttribute("aria-pressed", String(choice[1] === 0));
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        if (choice[1] === 0) chart.timeScale().fitContent();
        else chart.timeScale().setVisibleLogicalRange({ from: count - choice[1], to: count + 1 });
      });
      buttons.push(button);
    });
    return () => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === 0)));
  }

  // The session under the crosshair; the last one when it is elsewhere.
  function row(event, last) {
    const inside = event.logical !== undefined && event.logical !== null && event.point;
    return inside ? Math.max(0, Math.min(last, Math.round(event.logical))) : last;
  }

  // Curves of one group are thin, share a colour, and have one entry in the legend.
  function drawCurves() {
    const equity = make("equity", (value) => money.format(value));
    const drawdown = make("drawdown", percent);
    const legend = document.getElementById("curves");
    const shown = [];
    const groups = run.curves.map((curve) => curve.group || curve.name);
    const shades = Array.from(new Set(groups));
    // The agent is drawn last, so that it lies on top.
    run.curves.map((curve, i) => [curve, groups[i]]).reverse().forEach(([curve, group]) => {
      const shade = curve.shade || "--c" + (shades.indexOf(group) % 10);
      const width = curve.role === "agent" ? 3 : curve.role === "benchmark" ? 2 : 1;
      const extra = curve.dashed ? { lineStyle: 2, lineWidth: 2 } : {};
      const series = [line(equity, shade, width, points(run.sessions, curve.equity), extra)];
      if (curve.drawdown) {
        series.push(line(drawdown, shade, Math.min(width, 2), points(run.sessions, curve.drawdown)));
      }
      const known = shown.find((one) => one.group === group);
      if (known) known.series.push(...series);
      else shown.unshift({ curve: curve, group: group, shade: shade, series: series });
    });
    shown.forEach((one) => {
      const made = entry(legend, "button", one.group, one.shade);
      made.item.type = "button";
      made.item.setAttribute("aria-pressed", "true");
      made.item.addEventListener("click", () => {
        const visible = made.item.getAttribute("aria-pressed") !== "true";
        made.item.setAttribute("aria-pressed", String(visible));
        one.series.forEach((series) => series.applyOptions({ visible: visible }));
      });
      one.say = (i) => {
        const value = one.curve.equity[i];
        made.value.textContent = one.curve.group || value === null ? "" : money.format(value);
      };
    });
    const last = run.sessions.length - 1;
    const follow = (event) => shown.forEach((one) => one.say(row(event, last)));
    [equity, drawdown].forEach((chart) => { chart.subscribeCrosshairMove(follow); link(chart); });
    follow({});
    ranges(equity.chartElement().closest("section").querySelector(".ranges"), equity, run.sessions.length);
    const log = document.getElementById("log");
    log.addEventListener("click", () => {
      const on = log.getAttribute("aria-pressed") !== "true";
      log.setAttribute("aria-pressed", String(on));
      equity.priceScale("right").applyOptions({ mode: on ? 1 : 0 });
    });
  }

  function drawExposure() {
    const chart = make("exposure", percent);
    if (!chart) return;
    const legend = document.getElementById("exposures");
    const { gross, net } = run.exposure;
    const same = gross.every((value, i) => value === net[i]);
    const kinds = same ? [["gross = net", "--c0", net]] : [["gross", "--c2", gross], ["net", "--c0", net]];
    const shown = kinds.map(([name, shade, values]) => {
      line(chart, shade, 2, points(run.sessions, values), { lineType: 1 });
      return [entry(legend, "span", name, shade).value, values];
    });
    const last = run.sessions.length - 1;
    const say = (i) => shown.forEach(([place, values]) => {
      place.textContent = values[i] === null ? "" : percent(values[i]);
    });
    chart.subscribeCrosshairMove((event) => say(row(event, last)));
    say(last);
    link(chart);
  }

  function drawPrices() {
    const chart = make("prices", (value) => price.format(value));
    if (!chart || !run.prices.length) return;
    const legend = document.getElementById("marks");
    const choice = document.getElementById("symbol");
    entry(legend, "span", "bought", "--up");
    entry(legend, "span", "sold", "--down");
    const about = entry(legend, "span", "", "--sheet");
    const restated = document.getElementById("restated");
    let series = null;
    let marks = null;
    let reset = null;

    // Old prices in the shares of the last day shown: what a split did is divided out.
    const isRestated = () => restated.getAttribute("aria-pressed") === "true";
    const ratio = (one, day) => one.splits.reduce((all, [on, by]) => (day < on ? all * by : all), 1);
    const scaled = (one, values) => isRestated()
      ? values.map((value, i) => (value === null ? null : value / ratio(one, one.day[i]))) : values;

    function show() {
      const one = run.prices[choice.selectedIndex];
      if (series) chart.removeSeries(series);
      const times = one.day.map((day) => run.days[day]);
      const [open, high, low, close] = ["open", "high", "low", "close"].map((name) => one[name] && scaled(one, one[name]));
      restated.hidden = one.splits.length === 0;
      if (one.open) {
        series = chart.addSeries(LightweightCharts.CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
        series.setData(times.map((time, i) => (
          { time: time, open: open[i], high: high[i], low: low[i], close: close[i] })));
      } else {
        series = chart.addSeries(LightweightCharts.LineSeries, { priceLineVisible: false, lastValueVisible: false, lineWidth: 1 });
        series.setData(points(times, close));
      }
      marks = LightweightCharts.createSeriesMarkers(series, []);
      dress();
      chart.timeScale().fitContent();
      if (reset) reset();
    }

    // Candles are quiet and grey: the colours belong to what the agent did.
    function dress() {
      if (!series) return;
      const one = run.prices[choice.selectedIndex];
      const grey = colour("--soft");
      const pale = colour("--line");
      series.applyOptions(one.open
        ? { upColor: pale, downColor: grey, wickUpColor: grey, wickDownColor: grey, borderVisible: true, borderUpColor: grey, borderDownColor: grey }
        : { color: grey });
      const traded = one.fills.map(([day, qty]) => ({
        time: run.days[day],
        position: qty > 0 ? "belowBar" : "aboveBar",
        shape: qty > 0 ? "arrowUp" : "arrowDown",
        color: colour(qty > 0 ? "--up" : "--down"),
        size: one.fills.length > 60 ? 0.6 : 1,
      }));
      const splits = one.splits.map(([day, ratio]) => ({
        time: run.days[day], position: "inBar", shape: "circle", color: colour("--c1"), text: "split " + (ratio < 1 ? "1:" + Number((1 / ratio).toPrecision(4)) : ratio + ":1"),
      }));
      marks.setMarkers(traded.concat(splits).sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)));
    }

    chart.subscribeCrosshairMove((event) => {
      const one = run.prices[choice.selectedIndex];
      const at = one.day.findIndex((day) => run.days[day] === event.time);
      const fills = event.time ? one.fills.filter(([day]) => run.days[day] === event.time) : [];
      const close = at >= 0 ? "close " + price.format(one.close[at]) : "";
      const did = fills.map(([, qty, paid]) =>
        (qty > 0 ? "bought " : "sold ") + Math.abs(qty) + " at " + price.format(paid));
      about.value.textContent = event.time ? [event.time, close].concat(did).filter(Boolean).join(", ") : "";
    });
    painters.push(dress);
    choice.addEventListener("change", show);
    restated.addEventListener("click", () => {
      restated.setAttribute("aria-pressed", String(!isRestated()));
      show();
    });
    show();
    reset = ranges(chart.chartElement().closest("section").querySelector(".ranges"), chart, run.days.length);
  }

  const paint = () => painters.forEach((painter) => painter());
  drawCurves();
  drawExposure();
  drawPrices();
  paint();
  linked.slice(0, 1).forEach((chart) => chart.timeScale().fitContent());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  document.documentElement.dataset.charts = String(charts.length);
})();
