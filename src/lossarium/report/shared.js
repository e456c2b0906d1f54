'use strict';

/* Shared by the pages with charts: names and colours of losses, and drawing with uPlot. */

const DASHED_FROM = 6; // Losses after the sixth get dashed lines, since twelve colours are hard to tell apart.
const MINUS = '\u2212';

function byId(id) {
  return document.getElementById(id);
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function formatNumber(value, digits) {
  return value.toFixed(digits).replace('-', MINUS);
}

function specText(spec) {
  /* The spec as <code>, in which lines break between terms if possible, else after a bracket, comma or sign. */
  const code = element('code', 'spec');
  spec.split(/\s+(?=[+-]\s)/).forEach((term) => {
    const whole = element('span', 'term');
    term.split(/(?<=[(,*])/).forEach((part) => whole.append(part, element('wbr')));
    code.append(whole, ' ');
  });
  return code;
}

function lossName(losses, index) {
  const name = element('span', 'named');
  const badge = element('span', `badge loss-${losses[index].colour}`, String(index + 1));
  badge.setAttribute('aria-hidden', 'true');
  name.append(badge, specText(losses[index].spec));
  return name;
}

function axis(label, size) {
  const colour = (name) => () => cssColour(name);
  const font = '12px -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';
  return {
    label,
    size,
    font,
    labelFont: font,
    labelSize: 22,
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
  };
}

function drawBadges(chart, labels, losses) {
  /* Draw the number of each loss at (x, y), in canvas pixels, with a thin line to the point it belongs to. */
  const { ctx: context } = chart;
  const unit = uPlot.pxRatio;
  context.save();
  context.font = `700 ${10.5 * unit}px sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.setLineDash([]); // uPlot does not reset the dashes of its last line.
  labels.forEach(({ loss, x, y, pointX, pointY }) => {
    context.strokeStyle = cssColour('--muted');
    context.lineWidth = unit;
    context.beginPath();
    context.moveTo(pointX, pointY);
    context.lineTo(x, y);
    context.stroke();
    context.beginPath();
    context.arc(x, y, 8 * unit, 0, 2 * Math.PI);
    context.fillStyle = cssColour(`--loss-${losses[loss].colour}`);
    context.fill();
    context.fillStyle = cssColour(`--on-loss-${losses[loss].colour}`);
    context.fillText(String(loss + 1), x, y + 0.5 * unit);
  });
  context.restore();
}

function makeLegend(losses, hidden, charts) {
  /* Make a button per loss, which hides or shows its lines and updates the set of hidden losses; return the
     elements for their values. `charts` returns the current charts. */
  function toggle(loss, button) {
    const show = hidden.delete(loss);
    if (!show) hidden.add(loss);
    button.setAttribute('aria-pressed', String(show));
    charts().forEach((chart) => chart.setSeries(loss + 1, { show }));
  }

  function emphasise(loss) {
    /* Dim all lines except that of one loss; null undoes it. */
    charts().forEach((chart) => chart.setSeries(loss === null ? null : loss + 1, { focus: true }));
  }

  return losses.map((loss, index) => {
    const button = element('button', index >= DASHED_FROM ? 'dashed' : '');
    button.type = 'button';
    button.classList.add(`loss-${loss.colour}`);
    button.setAttribute('aria-pressed', 'true');
    const name = lossName(losses, index);
    const reading = element('span', 'reading');
    button.append(name.firstChild, element('span', 'stroke'), name.lastChild, reading);
    button.addEventListener('click', () => toggle(index, button));
    button.addEventListener('pointerenter', () => emphasise(index));
    button.addEventListener('pointerleave', () => emphasise(null));
    const item = element('li');
    item.append(button);
    byId('curve-legend').append(item);
    return reading;
  });
}

function followPage(charts, box) {
  /* Redraw when the theme changes or the page is printed, and resize the charts with their boxes. */
  const redraw = () => charts().forEach((chart) => chart.redraw(false));
  for (const query of ['(prefers-color-scheme: dark)', 'print']) {
    matchMedia(query).addEventListener('change', redraw);
  }
  new ResizeObserver(() => {
    charts().forEach((chart) => {
      const around = chart.root.parentElement;
      if (around.clientWidth > 0) chart.setSize({ width: around.clientWidth, height: around.clientHeight });
    });
  }).observe(box);
}
