// Read-outs under the pointer. The values are read back from the drawn lines, so the page holds them once.
(() => {
  const tip = document.getElementById("tip");
  const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en");
  const scale = (text) => {
    const [kind, from, to] = text.split(" ").map((part, index) => (index ? Number(part) : part));
    return (at) => (kind === "log" ? from * Math.pow(to / from, at) : from + (to - from) * at);
  };
  const points = (path) => (path.points ??= path.getAttribute("d").slice(1).split(/[ML]/).map((pair) => pair.split(" ").map(Number)));
  const nearest = (path, x) => points(path).reduce((best, point) => (Math.abs(point[0] - x) >= Math.abs(best[0] - x) ? best : point));
  const visible = (element) => getComputedStyle(element).display !== "none";

  const show = (event, text) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 16 + box.width > innerWidth;
    tip.style.left = Math.max(4, right ? event.clientX - 16 - box.width : event.clientX + 16) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4)) + "px";
  };
  const place = (svg, event) => {
    const box = svg.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((at) => Math.min(Math.max(at, 0), 0.99999));
  };
  const crosses = (svg, at) => {
    const time = svg.closest(".time");
    for (const area of time ? document.querySelectorAll(".time .area") : [svg.parentElement]) {
      const cross = area.querySelector(".cross") ?? area.appendChild(Object.assign(document.createElement("div"), { className: "cross" }));
      cross.style.left = at * 100 + "%";
    }
  };

  const plot = (svg, event) => {
    const [at] = place(svg, event);
    const x = scale(svg.dataset.x)(at), y = scale(svg.dataset.y);
    const time = svg.closest(".time");
    const rows = [...svg.querySelectorAll(".line")].filter(visible).flatMap((path) => {
      const point = nearest(path, at * 1000);
      return Math.abs(point[0] - at * 1000) > 40 ? [] : [path.dataset.n + "  " + digits(y(1 - point[1] / 1000))];
    });
    crosses(svg, at);
    const head = time ? digits(x) + " s" : "p" + Number((100 * (1 - 1 / x)).toFixed(x > 200 ? 3 : 1));
    show(event, [head + "  (" + svg.dataset.unit + ")", ...rows].join("\n"));
  };

  const heat = (svg, event) => {
    const [x, y] = place(svg, event);
    const data = svg.dataset, columns = Number(data.columns);
    const column = Math.floor(x * columns), row = Math.floor((y * data.cells.length) / columns);
    const cell = row * columns + column, level = data.cells[cell], bound = scale(data.scale);
    const name = svg.closest(".frame").querySelectorAll(".rows span")[row].textContent;
    const errors = data.errors.split(" ").find((pair) => pair.startsWith(cell + ":"));
    const lines = [name, digits(column * data.seconds) + " s to " + digits((column + 1) * data.seconds) + " s"];
    lines.push(level === "." ? "nothing ended" : "p99 " + digits(bound(level / 9)) + " to " + digits(bound((Number(level) + 1) / 9)) + " ms");
    if (errors) lines.push("errors " + errors.split(":")[1]);
    show(event, lines.join("\n"));
  };

  for (const svg of document.querySelectorAll("svg[data-y], svg[data-cells]")) {
    const read = svg.dataset.y ? plot : heat;
    svg.parentElement.addEventListener("pointermove", (event) => read(svg, event));
    svg.parentElement.addEventListener("pointerleave", () => {
      tip.hidden = true;
      document.querySelectorAll(".cross").forEach((cross) => cross.remove());
    });
    // The title stays for who hears the page; as a tooltip it would cover the read-out.
    const title = svg.querySelector("title");
    svg.setAttribute("aria-label", title.textContent);
    svg.removeAttribute("aria-labelledby");
    title.remove();
  }
})();
