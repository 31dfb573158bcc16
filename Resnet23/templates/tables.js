// Tables of the class "sortable": a button in each header sorts the rows, and again the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const isMissing = (text) => text === "" || text === "–";
  const numberOf = (text) => Number(text.replaceAll(",", "").replace("%", ""));

  const sort = (header) => {
    const column = header.cellIndex;
    const textOf = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows];
    const known = rows.filter((row) => !isMissing(textOf(row)));
    const isNumeric = known.every((row) => Number.isFinite(numberOf(textOf(row))));
    // The first click shows what one looks for: names from A, the largest numbers.
    const first = isNumeric && column > 0 ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = header.ariaSort === first ? other : first;
    const sign = direction === "ascending" ? 1 : -1;
    const compare = isNumeric
      ? (one, two) => numberOf(textOf(one)) - numberOf(textOf(two))
      : (one, two) => textOf(one).localeCompare(textOf(two), undefined, { numeric: true });
    known.sort((one, two) => sign * compare(one, two));
    body.append(...known, ...rows.filter((row) => isMissing(textOf(row))));
    for (const each of headers) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
  };

  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(header));
    header.replaceChildren(button);
  }
}
