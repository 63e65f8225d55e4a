"use strict";
(() => {
  const box = document.getElementById("category-map");
  if (box) {
    try {
      startMap(box, JSON.parse(document.getElementById("map-data").textContent));
    } catch (error) {
      box.classList.remove("live"); // the still picture stays
      box.dataset.error = String(error);
    }
  }
  markContents();

  // The contents show which section is being read.
  function markContents() {
    if (!("IntersectionObserver" in window)) return;
    const links = new Map([...document.querySelectorAll("nav a")].map(a => [a.getAttribute("href").slice(1), a]));
    const seen = new Set();
    const watch = new IntersectionObserver(entries => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const current = [...links.keys()].find(id => seen.has(id));
      for (const [id, link] of links) {
        if (id === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-15% 0px -60% 0px" });
    for (const id of links.keys()) watch.observe(document.getElementById(id));
  }

  function startMap(box, data) {
    const canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
    const stage = box.querySelector(".stage"), tip = box.querySelector(".tip");
    const search = box.querySelector("input"), count = box.querySelector(".count");
    const buttons = [...box.querySelectorAll(".legend button")];
    const n = data.x.length, largest = 60;
    // In the order of the legend: how N and P step through the products.
    const order = [...Array(n).keys()].sort((a, b) => data.group[a] - data.group[b] || data.y[a] - data.y[b]);
    const words = data.title.map((title, i) => (title + " " + data.id[i]).toLowerCase());
    const alone = new Set();
    let found = null, at = -1, width = 0, height = 0, fit = 1, zoom = 1, left = 0, top = 0, waiting = false, colors;

    const shown = i => (!alone.size || alone.has(data.group[i])) && (!found || found.has(i));
    const place = i => [left + data.x[i] * fit * zoom, top + data.y[i] * fit * zoom];

    function readColors() {
      const style = getComputedStyle(document.documentElement);
      colors = { ink: style.getPropertyValue("--ink").trim(), card: style.getPropertyValue("--card").trim() };
    }

    function resize() {
      const wide = stage.clientWidth;
      if (!wide || wide === width) return;
      const x = width ? (width / 2 - left) / (fit * zoom) : data.width / 2;
      const y = width ? (height / 2 - top) / (fit * zoom) : data.height / 2;
      width = wide;
      height = Math.round(Math.min(640, Math.max(320, wide * 0.85)));
      const sharp = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * sharp);
      canvas.height = Math.round(height * sharp);
      canvas.style.height = height + "px";
      pen.setTransform(sharp, 0, 0, sharp, 0, 0);
      fit = Math.min((width - 36) / Math.max(1, data.width), (height - 36) / Math.max(1, data.height));
      left = width / 2 - x * fit * zoom;
      top = height / 2 - y * fit * zoom;
      soon();
    }

    function soon() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(draw);
    }

    function draw() {
      waiting = false;
      pen.clearRect(0, 0, width, height);
      const radius = Math.min(9, 2.6 * Math.pow(zoom, 0.45));
      let drawn = 0;
      for (const bright of [false, true]) {
        pen.globalAlpha = bright ? 0.85 : 0.1;
        for (let i = 0; i < n; i++) {
          if (shown(i) !== bright) continue;
          if (bright) drawn++;
          const [x, y] = place(i);
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          pen.fillStyle = data.colors[data.group[i]];
          pen.beginPath();
          pen.arc(x, y, radius, 0, 7);
          pen.fill();
        }
      }
      pen.globalAlpha = 1;
      if (at >= 0) {
        const [x, y] = place(at);
        pen.lineWidth = 2;
        pen.strokeStyle = colors.card;
        pen.beginPath();
        pen.arc(x, y, radius + 4, 0, 7);
        pen.stroke();
        pen.strokeStyle = colors.ink;
        pen.beginPath();
        pen.arc(x, y, radius + 2.5, 0, 7);
        pen.stroke();
      }
      // What tests, and whoever wonders, can read of the state.
      box.dataset.drawn = drawn;
      box.dataset.zoom = zoom.toFixed(3);
      box.dataset.at = at < 0 ? "" : data.id[at];
    }

    function show(i) {
      if (i === at && tip.hidden === (i < 0)) return soon();
      at = i;
      tip.hidden = i < 0;
      if (i >= 0) {
        const text = document.createElement("div"), title = document.createElement("b");
        title.textContent = data.title[i] || "no title";
        text.append(title);
        for (const line of [data.categories[data.group[i]], data.id[i]]) {
          const row = document.createElement("span");
          row.textContent = line;
          text.append(row);
        }
        tip.replaceChildren(text);
        if (data.picture[i]) {
          const picture = new Image();
          picture.alt = "";
          picture.src = "data:image/jpeg;base64," + data.picture[i];
          tip.prepend(picture);
        }
        const [x, y] = place(i);
        const right = x + 14 + tip.offsetWidth > width, below = y + 14 + tip.offsetHeight > height;
        tip.style.left = Math.max(4, right ? x - 14 - tip.offsetWidth : x + 14) + "px";
        tip.style.top = Math.max(4, below ? y - 14 - tip.offsetHeight : y + 14) + "px";
      }
      soon();
    }

    function nearest(x, y, reach) {
      let best = -1, least = reach * reach;
      for (let i = 0; i < n; i++) {
        if (!shown(i)) continue;
        const [a, b] = place(i), away = (a - x) * (a - x) + (b - y) * (b - y);
        if (away <= least) [best, least] = [i, away];
      }
      return best;
    }

    function zoomTo(value, x = width / 2, y = height / 2) {
      const next = Math.min(largest, Math.max(1, value));
      left = x - (x - left) * next / zoom;
      top = y - (y - top) * next / zoom;
      zoom = next;
      settle();
    }

    // At least the middle of the picture stays on the map; all of it is shown when zoomed out.
    function settle() {
      const wide = data.width * fit * zoom, high = data.height * fit * zoom;
      if (zoom === 1) {
        left = (width - wide) / 2;
        top = (height - high) / 2;
      }
      left = Math.min(width / 2, Math.max(width / 2 - wide, left));
      top = Math.min(height / 2, Math.max(height / 2 - high, top));
      canvas.classList.toggle("zoomed", zoom > 1);
      show(-1);
    }

    function move(x, y) {
      left += x;
      top += y;
      settle();
    }

    // Bring a product into view and show it.
    function visit(i) {
      show(-1);
      const [x, y] = place(i);
      if (x < 30 || y < 30 || x > width - 30 || y > height - 30) {
        left += width / 2 - x;
        top += height / 2 - y;
        canvas.classList.toggle("zoomed", zoom > 1);
      }
      show(i);
    }

    function step(by) {
      const some = order.filter(shown);
      if (!some.length) return;
      const here = some.indexOf(at);
      visit(some[here < 0 ? (by > 0 ? 0 : some.length - 1) : (here + by + some.length) % some.length]);
    }

    function isolate(group, adding) {
      const only = alone.size === 1 && alone.has(group);
      if (!adding) alone.clear();
      if (adding && alone.has(group)) alone.delete(group);
      else if (adding || !only) alone.add(group);
      for (const button of buttons) button.setAttribute("aria-pressed", alone.has(Number(button.dataset.group)));
      tell();
    }

    function find() {
      const text = search.value.trim().toLowerCase();
      found = text ? new Set(words.flatMap((word, i) => (word.includes(text) ? [i] : []))) : null;
      tell();
    }

    function tell() {
      const some = order.filter(shown).length;
      count.textContent = some === n ? n.toLocaleString("en") + " products"
        : some.toLocaleString("en") + " of " + n.toLocaleString("en") + " products";
      show(-1);
    }

    const spot = event => {
      const area = canvas.getBoundingClientRect();
      return [event.clientX - area.left, event.clientY - area.top];
    };
    const fingers = new Map();
    let pinch = 0;

    canvas.addEventListener("wheel", event => {
      const closer = event.deltaY < 0;
      if (!closer && zoom === 1) return; // nothing to zoom out of: the page scrolls on
      event.preventDefault();
      // Lines are about 16 pixels; a pinch on a touch pad comes as a wheel with Ctrl, in small steps.
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1) * (event.ctrlKey ? 4 : 1);
      zoomTo(zoom * Math.exp(-Math.max(-120, Math.min(120, pixels)) * 0.0025), ...spot(event));
    }, { passive: false });

    canvas.addEventListener("pointerdown", event => {
      if (event.button) return;
      fingers.set(event.pointerId, spot(event));
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("moving");
    });
    canvas.addEventListener("pointermove", event => {
      const here = spot(event), before = fingers.get(event.pointerId);
      if (!before) return show(nearest(...here, 14));
      fingers.set(event.pointerId, here);
      if (fingers.size === 1) return move(here[0] - before[0], here[1] - before[1]);
      const [a, b] = [...fingers.values()], apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (pinch) zoomTo(zoom * apart / pinch, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      pinch = apart;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, event => {
        fingers.delete(event.pointerId);
        pinch = 0;
        canvas.classList.remove("moving");
        if (name === "pointerup") show(nearest(...spot(event), event.pointerType === "touch" ? 24 : 14));
      });
    }
    canvas.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") show(-1); });
    canvas.addEventListener("dblclick", event => zoomTo(zoom * 2, ...spot(event)));

    canvas.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60),
        ArrowDown: () => move(0, -60), "+": () => zoomTo(zoom * 1.4), "=": () => zoomTo(zoom * 1.4),
        "-": () => zoomTo(zoom / 1.4), 0: () => zoomTo(1), n: () => step(1), p: () => step(-1), Escape: clear,
      };
      const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });

    function clear() {
      search.value = "";
      found = null;
      alone.clear();
      for (const button of buttons) button.setAttribute("aria-pressed", "false");
      tell();
    }

    for (const button of buttons) {
      button.addEventListener("click", event => {
        isolate(Number(button.dataset.group), event.ctrlKey || event.metaKey || event.shiftKey);
      });
    }
    for (const button of box.querySelectorAll("[data-zoom]")) {
      if (button.tagName !== "BUTTON") continue;
      button.addEventListener("click", () => zoomTo(Number(button.dataset.zoom) ? zoom * Number(button.dataset.zoom) : 1));
    }
    search.addEventListener("input", find);
    search.addEventListener("keydown", event => {
      if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") clear();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); soon(); });

    readColors();
    box.classList.add("live");
    resize();
    tell();
    draw();
    if ("ResizeObserver" in window) new ResizeObserver(resize).observe(stage);
    else window.addEventListener("resize", resize);
  }
})();
