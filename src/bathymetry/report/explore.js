// What a reader can ask of a study's charts: one network in all of them, epochs by their logarithm, values at a position.

// Accuracies are drawn as logits (see axes.py), and read as shares.
const LOGIT = /\((\d+) \/ \(1 \+ exp\(-datum\.value\)\) - 0\.5\) \/ (\d+)/;
function natural(channel) {
  const found = LOGIT.exec((channel.axis || {}).labelExpr || "");
  if (!found) return (value) => value;
  return (value) => Math.min(1, Math.max(0, (found[1] / (1 + Math.exp(-value)) - 0.5) / found[2]));
}

function inWords(channel) {
  const value = natural(channel);
  const isShare = LOGIT.test((channel.axis || {}).labelExpr || "");
  const digits = (number) => (Math.abs(number) >= 1000 && Math.abs(number) < 1e5 ? Math.round(number).toLocaleString("en") : Math.abs(number) >= 1e5 || (number !== 0 && Math.abs(number) < 1e-4) ? number.toExponential(2) : number.toPrecision(3));
  return (drawn) => (isShare ? `${(100 * value(drawn)).toPrecision(4)} %` : digits(drawn).replace("-", "−"));
}

// The line of a network that is nearest to a place in a chart, in pixels of the plot.
function nearest(box, across, down) {
  const view = views.get(box);
  const chart = content.charts[box.dataset.chart];
  const layer = view && layersOf(chart).find((one) => one.name === "members" && one.encoding.detail);
  if (!layer) return null;
  const [x, y] = [view.scale("x"), view.scale("y")];
  const off = new Set(hidden.get(box.dataset.chart) || []);
  const isLine = (layer.mark.type || layer.mark) === "line";
  let best = { away: 12 };
  let before = null;
  for (const row of rows(content.datasets[dataOf(chart, layer)])) {
    const here = row.y === null || off.has(row.series) ? null : { ...row, across: x(row.x), down: y(row.y) };
    const joined = isLine && here && before && before.member === here.member && before.series === here.series && before.across <= across && across <= here.across;
    let away = Infinity;
    if (joined) away = Math.abs(before.down + ((here.down - before.down) * (across - before.across)) / (here.across - before.across || 1) - down);
    else if (here && !isLine) away = Math.hypot(here.across - across, here.down - down);
    const end = joined && across - before.across < here.across - across ? before : here;
    if (away < best.away) best = { away, member: end.member, series: end.series, y: end.y, channel: layer.encoding.y };
    before = here;
  }
  return best.member === undefined ? null : best;
}

function placeIn(box, event) {
  const plot = box.querySelector("canvas, svg").getBoundingClientRect();
  const [left, top] = views.get(box).origin();
  const around = views.get(box).padding();
  return [event.clientX - plot.left - left - around.left, event.clientY - plot.top - top - around.top];
}

// Tooltips name the network under the pointer.
function tooltipOf(box, isDark) {
  let last = null;
  box.onpointermove = null;
  box.addEventListener("pointermove", (event) => (last = event), { capture: true, passive: true });
  const formatTooltip = (value, clean) => {
    if (typeof value !== "object") return clean(String(value));
    const readings = Object.entries(value).map(([name, one]) => [name === "member" && !("point" in value) ? content.each : name, one]);
    const near = last && views.has(box) ? nearest(box, ...placeIn(box, last)) : null;
    if (near) readings.push([`${content.each} ${near.member}${readings.length > 2 ? `, ${near.series}` : ""}`, inWords(near.channel)(near.y)]);
    return `<table><tbody>${readings.map(([name, one]) => `<tr><td class="key">${clean(name)}</td><td class="value">${clean(String(one))}</td></tr>`).join("")}</tbody></table>`;
  };
  return { theme: isDark ? "dark" : "light", disableDefaultStyle: true, formatTooltip };
}

function press(box, event, item) {
  const { member, point } = (item && item.datum) || {};
  const own = !Number.isInteger(member) ? null : point === undefined ? member : `${point}.${member}`;
  const near = own === null ? nearest(box, ...placeIn(box, event)) : { member: own };
  if (near) choose("network", studyOf(box), listed("network").get(studyOf(box)) === String(near.member) ? null : String(near.member));
  if (near) follow(studyOf(box));
}

// A rule across the charts of a figure, and what their centres are there.
function addRule(view, reading, dark) {
  const [x] = layersOf(view).map((layer) => (layer.encoding || {}).x).filter((one) => one && one.field === "x");
  const rule = { data: { name: "reading" }, mark: { type: "rule", color: dark ? "#e9eff5" : "#17222d", strokeWidth: 1.2 }, encoding: { x } };
  view.datasets.reading = [{ x: reading.positions[placeOf(reading)] }];
  view.layer.splice(view.layer.length - 1, 0, rule);
}

function placeOf(reading) {
  const given = Number(listed("at").get(reading.study) || reading.start);
  return Math.min(reading.positions.length - 1, Math.max(0, Math.round(given) || 0));
}

function readOff(reading) {
  const input = document.querySelector(`input[data-slider="${reading.study}"]`);
  const position = reading.positions[placeOf(reading)];
  const where = `${reading.title}: ${position.toLocaleString("en", Number.isInteger(position) ? {} : { maximumSignificantDigits: 4 })}`.replace("-", "−");
  const readings = Object.entries(reading.charts).map(([chart, title]) => {
    const view = content.charts[chart];
    const layer = layersOf(view).find((one) => one.name === "centre");
    const say = inWords(layer.encoding.y);
    const here = rows(content.datasets[dataOf(view, layer)]).filter((row) => row.x === position && typeof row.y === "number");
    const values = here.map((row) => `${row.series} ${say(row.y)}${typeof row.low === "number" ? ` (${say(row.low)} to ${say(row.high)})` : ""}`);
    return `${title}: ${values.join(", ") || "no value"}`;
  });
  input.value = placeOf(reading);
  input.setAttribute("aria-valuetext", where);
  const lines = [reading.centre ? `${where}, ${reading.centre}` : where, ...readings].map((text, at) => Object.assign(document.createElement(at ? "span" : "b"), { textContent: text }));
  input.closest(".slider").querySelector("output").replaceChildren(...lines);
  for (const box of boxes) {
    const view = box.dataset.chart in reading.charts && views.get(box);
    if (view) view.data("reading", [{ x: position }]).runAsync();
  }
}

// What the controls of a study show follows from the address.
function controlsOf(study) {
  for (const button of document.querySelectorAll(`button[data-log="${study}"]`)) button.setAttribute("aria-pressed", String(listed("log").has(study)));
  for (const menu of document.querySelectorAll(`select[data-network="${study}"]`)) menu.value = listed("network").get(study) || "";
  if (content.sliders[study]) readOff(content.sliders[study]);
}

function follow(study) {
  controlsOf(study);
  redraw(study);
}

for (const button of document.querySelectorAll("button[data-log]")) {
  button.addEventListener("click", () => {
    choose("log", button.dataset.log, listed("log").has(button.dataset.log) ? null : "");
    follow(button.dataset.log);
  });
}
for (const menu of document.querySelectorAll("select[data-network]")) {
  menu.addEventListener("change", () => {
    choose("network", menu.dataset.network, menu.value === "" ? null : menu.value);
    follow(menu.dataset.network);
  });
}
for (const input of document.querySelectorAll("input[data-slider]")) {
  input.addEventListener("input", () => {
    choose("at", input.dataset.slider, input.value);
    readOff(content.sliders[input.dataset.slider]);
  });
}
