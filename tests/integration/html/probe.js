// Examines the page in a frame. It is called when the frame is loaded, and --dump-dom waits for it.
function probe(frame) {
  const view = frame.contentWindow, page = frame.contentDocument;
  const seen = (element) => element.getClientRects().length > 0;
  const rows = () => [...page.querySelectorAll("tr.difference")].filter(seen).length;

  // Count the visible rows for each filter, and for some searches.
  const filters = {};
  for (const radio of page.querySelectorAll("input[type=radio]")) {
    radio.checked = true;
    filters[radio.id] = rows();
  }
  const all = page.getElementById("only-all");
  if (all) all.checked = true;
  const search = page.getElementById("search"), searches = {};
  for (const text of ["/sizes/59", "new", "no such path", ""]) {
    if (!search || !seen(search)) break;
    const field = search.querySelector("input");
    field.value = text;
    field.dispatchEvent(new view.Event("input"));
    searches[text] = rows();
  }

  // Compute the minimum contrast between text and background, as defined by WCAG.
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const parts = rgb.slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const found = colour(view.getComputedStyle(element).backgroundColor);
    return found.length < 4 || found[3] > 0 ? found : background(element.parentElement);
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = [...page.body.querySelectorAll("*")].filter((element) =>
    !element.closest("svg") && seen(element) && hasText(element));
  const contrasts = texts.map((element) => {
    const [one, other] = [colour(view.getComputedStyle(element).color), background(element)].map(luminance);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  });

  // Count the cells of each kind in the maps, and their colours.
  const maps = [...page.querySelectorAll("svg")].filter(seen).map((map) => {
    const cells = {};
    for (const cell of map.querySelectorAll("rect")) {
      cells[cell.classList[0]] = (cells[cell.classList[0]] || 0) + cell.width.baseVal.value / 10;
    }
    return cells;
  });
  const colours = new Set([...page.querySelectorAll(".key")].map((key) =>
    view.getComputedStyle(key).backgroundColor));

  document.getElementById("probe").textContent = JSON.stringify({
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: luminance(background(page.body)),
    texts: texts.length,
    contrast: Math.min(...contrasts),
    summary: [...page.querySelectorAll("#summary dd")].filter(seen).map((number) => number.textContent),
    sections: [...page.querySelectorAll("section")].filter(seen).map((section) => section.id),
    wide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
    requests: view.performance.getEntriesByType("resource").length,
    filters, searches, maps, colours: colours.size,
  });
}
