'use strict';

/* The chart of range tests: every loss over the learning rate, raw and smoothed. All data comes from the JSON in
   #report-data; there are no network requests. */

const HIGHEST = 2; // Top of the chart, as a multiple of a loss's first value; explosions are cut off there.

function powerOfTen(exponent) {
  const digits = '\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079';
  const raised = [...String(Math.abs(exponent))].map((digit) => digits[Number(digit)]).join('');
  return `10${exponent < 0 ? '\u207b' : ''}${raised}`;
}

function rateText(rate) {
  const [mantissa, exponent] = rate.toExponential(1).split('e');
  return `${mantissa.replace('.0', '')}\u00b7${powerOfTen(Number(exponent))}`;
}

function isPower(rate) {
  const exponent = Math.log10(rate);
  return Math.abs(exponent - Math.round(exponent)) < 1e-6;
}

function marked(chart, splits) {
  /* Label only powers of ten where several are visible, and all ticks after zooming in. */
  const { min, max } = chart.scales.x;
  return splits.map((rate) => (max / min < 30 || isPower(rate) ? rate : null));
}

function tickTexts(chart, splits) {
  return splits.map((rate) => {
    if (rate === null) return '';
    return isPower(rate) ? powerOfTen(Math.round(Math.log10(rate))) : rateText(rate);
  });
}

function rateAxis() {
  const plain = axis('learning rate (logarithmic)', 32);
  const { grid, ticks } = plain;
  return {
    ...plain,
    filter: marked,
    grid: { ...grid, filter: marked },
    ticks: { ...ticks, filter: marked },
    values: tickTexts,
  };
}

function shownHeights(chart, curves) {
  /* The range of values of the visible losses within the visible part of the x axis. */
  const { min: from, max: to } = chart.series[0];
  const heights = [];
  curves.forEach((curve, loss) => {
    if (!chart.series[loss + 1].show) return;
    curve.rates.forEach((rate, place) => {
      if (rate >= from && rate <= to) heights.push(curve.losses[place], curve.smoothed[place]);
    });
  });
  if (!heights.length) return [0, 1];
  const low = heights.reduce((first, second) => Math.min(first, second));
  const high = Math.min(HIGHEST, heights.reduce((first, second) => Math.max(first, second)));
  const margin = (high - low) * 0.06 || 0.1;
  return high > low ? [low - margin, high + margin] : [low - margin, low + margin];
}

function inside(chart, draw) {
  const { ctx: context, bbox } = chart;
  context.save();
  context.beginPath();
  context.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  context.clip();
  context.setLineDash([]); // uPlot does not reset the dashes of its last line.
  draw(context, bbox, uPlot.pxRatio);
  context.restore();
}

function drawDots(chart, curves, losses) {
  inside(chart, (context, bbox, unit) => {
    context.globalAlpha = 0.35;
    curves.forEach((curve, loss) => {
      if (!chart.series[loss + 1].show) return;
      context.fillStyle = cssColour(`--loss-${losses[loss].colour}`);
      curve.rates.forEach((rate, place) => {
        context.beginPath();
        context.arc(
          chart.valToPos(rate, 'x', true), chart.valToPos(curve.losses[place], 'y', true), 1.7 * unit, 0, 2 * Math.PI,
        );
        context.fill();
      });
    });
  });
}

function drawSharedRate(chart, rate) {
  if (rate === null) return;
  inside(chart, (context, bbox, unit) => {
    const x = chart.valToPos(rate, 'x', true);
    context.strokeStyle = cssColour('--ink');
    context.lineWidth = unit;
    context.setLineDash([4 * unit, 4 * unit]);
    context.beginPath();
    context.moveTo(x, bbox.top);
    context.lineTo(x, bbox.top + bbox.height);
    context.stroke();
  });
}

function nearest(rates, rate) {
  const away = rates.map((one) => Math.abs(Math.log(one / rate)));
  return away.indexOf(Math.min(...away));
}

function stackUp(labels, distance, top) {
  /* Put each label above its point, above labels that are already there, or beside them at the top. */
  const placed = [];
  const covers = (x, y) => placed.some((other) => Math.hypot(other.x - x, other.y - y) < distance - 0.5);
  labels.forEach((label) => {
    const start = Math.max(label.pointY - distance, top + distance / 2);
    label.y = start;
    while (covers(label.x, label.y)) {
      label.y -= distance;
      if (label.y < top) {
        label.x += distance;
        label.y = start;
      }
    }
    placed.push(label);
  });
}

function drawSuggestions(chart, curves, losses) {
  /* Draw a ring at each suggestion, and the loss's number above it. */
  const unit = uPlot.pxRatio;
  const { min: from, max: to } = chart.scales.x;
  const labels = [];
  curves.forEach((curve, loss) => {
    const { suggested } = curve;
    if (suggested === null || suggested < from || suggested > to || !chart.series[loss + 1].show) return;
    const pointX = chart.valToPos(suggested, 'x', true);
    const pointY = chart.valToPos(curve.smoothed[nearest(curve.rates, suggested)], 'y', true);
    labels.push({ loss, pointX, pointY, x: pointX, y: pointY });
  });
  stackUp(labels, 18 * unit, chart.bbox.top);
  drawBadges(chart, labels, losses);
  inside(chart, (context) => {
    labels.forEach(({ loss, pointX, pointY }) => {
      context.beginPath();
      context.arc(pointX, pointY, 4 * unit, 0, 2 * Math.PI);
      context.fillStyle = cssColour('--surface');
      context.fill();
      context.lineWidth = 2 * unit;
      context.strokeStyle = cssColour(`--loss-${losses[loss].colour}`);
      context.stroke();
    });
  });
}

function makeChart(box, data, onPoint) {
  const { curves, losses, span } = data;
  const steps = Math.max(...curves.map((curve) => curve.rates.length));
  const rates = curves.find((curve) => curve.rates.length === steps).rates;
  const ySize = (chart, values) => 26 + 7 * Math.max(0, ...(values || []).map((value) => value.length));
  return new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [10, 16, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: { y: false, drag: { x: true, y: false }, points: { show: false } },
      scales: {
        x: { time: false, distr: 3, range: (chart, low, high) => (low < high ? [low, high] : span) },
        y: { range: (chart) => shownHeights(chart, curves) },
      },
      axes: [
        rateAxis(),
        axis('loss / where it began', ySize),
      ],
      series: [
        {},
        ...losses.map((loss, index) => ({
          label: loss.spec,
          width: 2,
          dash: index >= DASHED_FROM ? [7, 4] : undefined,
          stroke: () => cssColour(`--loss-${loss.colour}`),
          points: { show: false },
        })),
      ],
      hooks: {
        drawAxes: [(chart) => drawDots(chart, curves, losses), (chart) => drawSharedRate(chart, data.shared)],
        draw: [(chart) => drawSuggestions(chart, curves, losses)],
        setCursor: [onPoint],
      },
    },
    [rates, ...curves.map((curve) => rates.map((rate, place) => curve.smoothed[place] ?? null))],
    box,
  );
}

function main() {
  const data = JSON.parse(byId('report-data').textContent);
  document.querySelectorAll('.with-script').forEach((part) => { part.hidden = false; });
  const charts = [];
  const readings = makeLegend(data.losses, new Set(), () => charts);

  function showSuggestions() {
    byId('curve-moment').textContent = 'Suggested';
    data.curves.forEach(({ suggested }, loss) => {
      readings[loss].textContent = suggested === null ? 'none' : rateText(suggested);
    });
  }

  function showPoint(chart) {
    const { left, idx } = chart.cursor;
    if (left === undefined || left < 0 || idx == null) {
      showSuggestions();
      return;
    }
    byId('curve-moment').textContent = `Smoothed loss at a learning rate of ${rateText(chart.data[0][idx])}`;
    data.curves.forEach((curve, loss) => {
      readings[loss].textContent = idx < curve.rates.length ? formatNumber(curve.smoothed[idx], 3) : '';
    });
  }

  charts.push(makeChart(byId('chart-rates'), data, showPoint));
  showSuggestions();
  followPage(() => charts, byId('chart-rates'));
}

main();
