// A table whose rows are sorted, filtered and turned over like pages: in JupyterLab and on report pages.
// Rows are moved as they are. No text is ever read as HTML.

const PAGE = 30; // rows
const FEW = 10; // rows that need no filter
const SECONDS = { d: 86400, h: 3600, min: 60, s: 1 };

// A cell's style by its look. A notebook names the look only: a style of its own could ask another host.
const LOOKS = new Map([
  ['number', 'text-align:right;white-space:nowrap'],
  ['short', 'text-align:left;white-space:nowrap'],
  ['long', 'text-align:left;min-width:20em;overflow-wrap:anywhere;white-space:pre-wrap'],
]);

// Where a name may break: behind what joins its parts, and before a part that begins with a capital.
const JOINTS = /(?<=[._/:,=-])(?=\w)|(?<=[a-z])(?=[A-Z])/;

let tables = 0;

/** The number that a cell says: 1,234; -3; 12.3%; <0.01; 5 h 21 min. */
function number(text) {
  if (/^(\d+ (d|h|min|s) ?)+$/.test(text)) {
    return text.match(/\d+ \w+/g).reduce((sum, part) => sum + parseInt(part, 10) * SECONDS[part.split(' ')[1]], 0);
  }
  return /\d/.test(text) ? Number(text.replace(/[,%]/g, '').replace(/^</, '')) : NaN;
}

/** The places of texts in their order, numbers by size; what is empty stands last either way. */
function ordered(texts, down) {
  const numbers = texts.map(number);
  const counted = texts.every((text, at) => !text || !isNaN(numbers[at]));
  return texts.map((_, at) => at).sort((a, b) => {
    if (!texts[a] || !texts[b]) return (texts[a] ? 0 : 1) - (texts[b] ? 0 : 1);
    const one = counted ? numbers[a] - numbers[b] : texts[a].localeCompare(texts[b]);
    return down ? -one : one;
  });
}

function element(name, attributes, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The parts of a name, between which it may break. */
function broken(text) {
  return text.split(JOINTS).flatMap((part, at) => (at ? [element('wbr', {}), part] : [part]));
}

/** Makes the names of a table's columns buttons that sort it; more than ten rows get a filter, more than thirty pages. */
export function live(box) {
  const table = box.querySelector('table');
  if (!table || table.tBodies[0].rows.length < 2) return;
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const told = Array.from(body.rows).map(row => Array.from(row.cells).map(cell => cell.textContent.trim()));
  const texts = new Map(Array.from(body.rows).map((row, at) => [row, told[at]]));
  const whole = new Map(Array.from(texts, ([row, cells]) => [row, cells.join('\n').toLowerCase()]));
  let rows = Array.from(body.rows); // all of them, as they are sorted
  let page = 0;
  let words = [];
  const cut = /^the first [\d,]+ of [\d,]+ rows/.exec(box.querySelector(':scope > p')?.textContent || '');

  const bar = element('div', { class: 'dlq-bar', role: 'group', 'aria-label': 'Table' });
  const filter = element('input', {
    type: 'search', class: 'dlq-filter', placeholder: 'Filter rows', autocomplete: 'off', spellcheck: 'false',
    'aria-label': 'Filter rows: words that a row must have, in any column',
  });
  const back = element('button', { type: 'button' }, 'Previous page');
  const on = element('button', { type: 'button' }, 'Next page');
  const said = element('span', { role: 'status' });

  function show() {
    const found = rows.filter(row => words.every(word => whole.get(row).includes(word)));
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(page, pages - 1);
    body.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE));
    back.disabled = page === 0;
    on.disabled = page === pages - 1;
    back.hidden = on.hidden = rows.length <= PAGE;
    const all = cut ? cut[0] : `${rows.length} rows`;
    const many = words.length ? `${found.length} of ${all} have it` : all;
    said.textContent = pages > 1 ? `${many}, page ${page + 1} of ${pages}` : many;
  }

  function turn(by) {
    page += by;
    show();
  }

  filter.addEventListener('input', () => {
    words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    page = 0;
    show();
  });
  back.addEventListener('click', () => turn(-1));
  on.addEventListener('click', () => turn(1));
  heads.forEach((head, place) => {
    const button = element('button', { type: 'button', title: 'Sort by this column' });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      rows = ordered(rows.map(row => texts.get(row)[place]), down).map(at => rows[at]);
      page = 0;
      show();
    });
  });
  if (rows.length > FEW) {
    table.id = `dlq-table-${++tables}`;
    for (const control of [filter, back, on]) control.setAttribute('aria-controls', table.id);
    bar.append(filter, back, on, said);
    box.prepend(bar);
  }
  show();
}

/** A box with a table of {columns: [[name, look]], rows: [[text]], note}, every text a text. */
export function built(data) {
  const box = element('div', { class: 'dlq-table mathjax_ignore' });
  const table = element('table', { class: 'dataframe' });
  const top = table.createTHead().insertRow();
  const body = table.createTBody();
  const styles = data.columns.map(([, look]) => LOOKS.get(look) || LOOKS.get('long'));
  data.columns.forEach(([name], place) => {
    const head = element('th', { scope: 'col' });
    head.style.cssText = styles[place].split(';')[0];
    head.append(...broken(String(name)));
    top.append(head);
  });
  for (const texts of data.rows) {
    const row = body.insertRow();
    texts.forEach((text, place) => {
      const cell = element('td', {});
      const torn = styles[place] === LOOKS.get('long') && /\S{31}/.test(text);
      cell.append(...(torn ? broken(text) : [text]));
      cell.style.cssText = styles[place] || '';
      row.append(cell);
    });
  }
  const wide = element('div', { class: 'dlq-wide', tabindex: '0', role: 'region', 'aria-label': 'Table' });
  wide.append(table);
  box.append(wide, element('p', {}, data.note));
  live(box);
  return box;
}
