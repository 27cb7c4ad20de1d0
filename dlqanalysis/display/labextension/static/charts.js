// The kit's own charts in a notebook: as wide as their cell when a sidebar opens, dark in a dark theme, and told to
// screen readers. Charts of others are left alone: ours say in layout.meta.alt what they show.

const CHART = '.jp-RenderedPlotly.js-plotly-plot:not(.dlq-chart)';

/** From now on, dresses every chart of ours that comes into the page. */
export function watch() {
  let asked = false;
  const widths = new WeakMap();
  const sized = new ResizeObserver(entries => {
    const changed = entries.filter(one => Math.abs((widths.get(one.target) || 0) - one.contentRect.width) > 1);
    changed.forEach(one => widths.set(one.target, one.contentRect.width));
    // plotly draws a responsive chart anew when the window changes
    if (changed.some(one => one.contentRect.width)) requestAnimationFrame(() => window.dispatchEvent(new Event('resize')));
  });
  function look() {
    asked = false;
    for (const chart of document.querySelectorAll(CHART)) {
      const meta = chart.layout && chart.layout.meta;
      if (!meta || typeof meta.alt !== 'string') continue;
      chart.classList.add('dlq-chart');
      // plotly forgets a chart's height when it resizes it, and takes that of the place where it stands
      if (chart.layout.height) chart.style.height = `${chart.layout.height}px`;
      chart.setAttribute('role', 'img');
      chart.setAttribute('aria-label', meta.alt);
      sized.observe(chart);
    }
  }
  new MutationObserver(() => {
    if (!asked) requestAnimationFrame(look);
    asked = true;
  }).observe(document.body, { childList: true, subtree: true });
}
