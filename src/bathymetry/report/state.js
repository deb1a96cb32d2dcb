// What the reader chose is in the address after "#", so that a link shows the same page, also from a file.
const root = document.documentElement;
const content = JSON.parse(document.getElementById("bathymetry-content").textContent);
const state = new URLSearchParams();

function read() {
  const given = location.hash.slice(1);
  for (const name of [...state.keys()]) state.delete(name);
  const found = given.includes("=") ? [...new URLSearchParams(given)] : given ? [["s", given.replace(/^study-/, "")]] : [];
  for (const [name, value] of found) state.append(name, value);
}

function remember(visited) {
  const words = state.toString().replace(/%2C/g, ",").replace(/%3A/g, ":");
  const address = words ? `#${words}` : location.pathname + location.search;
  if (visited) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

function put(name, value) {
  if (value) state.set(name, value);
  else state.delete(name);
}

// What was chosen for each study: "log=capacity" and "network=capacity:3,trajectory:0".
const listed = (name) => new Map((state.get(name) || "").split(",").filter(Boolean).map((one) => [one.split(":")[0], one.split(":")[1] || ""]));

function choose(name, study, value) {
  const chosen = listed(name);
  if (value === null) chosen.delete(study);
  else chosen.set(study, value);
  put(name, [...chosen].map(([one, of]) => (of === "" ? one : `${one}:${of}`)).join(","));
  remember();
}

read();
