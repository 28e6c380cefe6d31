// Searches for paths. Without JavaScript, only this is missing.
const search = document.getElementById("search");
if (search) {
  search.hidden = false;
  const apply = (text) => {
    for (const row of document.querySelectorAll("tr.difference")) {
      row.classList.toggle("unmatched", !row.cells[0].textContent.includes(text));
    }
  };
  const field = search.querySelector("input");
  field.addEventListener("input", () => apply(field.value));
  // A link can contain the text to search for: report.html#/etc/
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted) {
    field.value = wanted;
    apply(wanted);
  }
}
