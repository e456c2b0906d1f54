'use strict';

/* The interactive parts of the report: curves with uPlot, and the picture grid with its slider over training.
   All data comes from the JSON in #report-data; there are no network requests. */

const PLAY_MILLISECONDS = 700;

function formatSeconds(seconds) {
  return `${seconds.toFixed(seconds >= 100 || Number.isInteger(seconds) ? 0 : 1)} s`;
}

/* ---------- Curves ---------- */

function chartTable(curves, along) {
  /* A table of x and all losses in uPlot's format; null where a loss has no evaluation at that x. */
  return uPlot.join(curves.map((curve) => [curve[along], curve.mean]));
}

function shownRange(chart, curves, along) {
  /* The range of values, bands included, of the visible losses within the visible part of the x axis. */
  const { min: from, max: to } = chart.series[0];
  let low = Infinity;
  let high = -Infinity;
  curves.forEach((curve, loss) => {
    if (!chart.series[loss + 1].show) return;
    curve[along].forEach((x, place) => {
      if (x < from || x > to) return;
      low = Math.min(low, curve.low[place]);
      high = Math.max(high, curve.high[place]);
    });
  });
  if (low > high) return [0, 1];
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

function nearestJudged(chart, seriesIndex, hovered, x) {
  /* The index of this loss's evaluation that is nearest to the pointer. */
  const [xs, ys] = [chart.data[0], chart.data[seriesIndex]];
  let nearest = null;
  xs.forEach((value, place) => {
    if (ys[place] == null) return;
    if (nearest === null || Math.abs(value - x) < Math.abs(xs[nearest] - x)) nearest = place;
  });
  return nearest;
}

function drawBands(chart, curves, along, losses) {
  const context = chart.ctx;
  context.save();
  context.beginPath();
  context.rect(chart.bbox.left, chart.bbox.top, chart.bbox.width, chart.bbox.height);
  context.clip();
  context.globalAlpha = 0.16;
  curves.forEach((curve, loss) => {
    const spread = curve.high.some((high, place) => high > curve.low[place]);
    if (!spread || !chart.series[loss + 1].show) return;
    const points = curve[along].map((x, place) => [x, curve.high[place]]);
    points.push(...curve[along].map((x, place) => [x, curve.low[place]]).reverse());
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(chart.valToPos(x, 'x', true), chart.valToPos(y, 'y', true)));
    context.fillStyle = cssColour(`--loss-${losses[loss].colour}`);
    context.fill();
  });
  context.restore();
}

function spreadApart(labels, gap, top, bottom) {
  /* Move overlapping labels apart, keeping their order and staying inside the chart.
     Pushing all down keeps the distances, so does pushing all up, and so does the middle of the two. */
  labels.sort((first, second) => first.y - second.y);
  const down = [];
  labels.forEach((label, place) => down.push(place ? Math.max(label.y, down[place - 1] + gap) : label.y));
  const up = [];
  for (let place = labels.length - 1; place >= 0; place -= 1) {
    up[place] = place < labels.length - 1 ? Math.min(labels[place].y, up[place + 1] - gap) : labels[place].y;
  }
  const middle = labels.map((label, place) => (down[place] + up[place]) / 2);
  const shift = Math.max(0, top - middle[0]) + Math.min(0, bottom - middle[middle.length - 1]);
  labels.forEach((label, place) => { label.y = middle[place] + shift; });
}

function columnsOf(labels, width) {
  /* Group the labels of lines that end at about the same x, from left to right. */
  const columns = [];
  labels.sort((first, second) => first.x - second.x);
  labels.forEach((label) => {
    const current = columns[columns.length - 1];
    if (current && label.x - current[0].x <= width) current.push(label);
    else columns.push([label]);
  });
  return columns;
}

function evade(label, placed, distance) {
  /* Move a label up or down to the nearest place where it covers no label placed before. */
  const covers = (y) => placed.some((other) => Math.hypot(other.x - label.x, other.y - y) < distance);
  for (let away = 0; away < 20 * distance; away += 1) {
    const free = [label.y - away, label.y + away].find((y) => !covers(y));
    if (free !== undefined) {
      label.y = free;
      return;
    }
  }
}

function drawEndLabels(chart, curves, along, losses) {
  /* Draw the number of each loss beside the last point of its line. */
  const { bbox } = chart;
  const unit = uPlot.pxRatio;
  const shown = (x) => x >= chart.scales.x.min && x <= chart.scales.x.max;
  const labels = [];
  curves.forEach((curve, loss) => {
    if (!chart.series[loss + 1].show) return;
    const inside = curve[along].map((x, place) => place).filter((place) => shown(curve[along][place]));
    const last = inside[inside.length - 1];
    if (last === undefined) return;
    const [pointX, pointY] = [chart.valToPos(curve[along][last], 'x', true), chart.valToPos(curve.mean[last], 'y', true)];
    labels.push({ loss, pointX: pointX + 5 * unit, pointY, x: pointX + 16 * unit, y: pointY });
  });
  const placed = [];
  columnsOf(labels, 4 * unit).forEach((column) => {
    const gap = Math.min(17 * unit, bbox.height / Math.max(1, column.length - 1));
    spreadApart(column, gap, bbox.top, bbox.top + bbox.height);
    if (placed.length) column.forEach((label) => evade(label, placed, gap));
    placed.push(...column);
  });
  drawBadges(chart, labels, losses);
}

function makeChart(box, along, score, losses, hidden, onPoint) {
  const curves = score.curves;
  const unit = score.unit ? ` [${score.unit}]` : '';
  const ySize = (chart, values) => 26 + 7 * Math.max(0, ...(values || []).map((value) => value.length));
  return new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [10, 32, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: { y: false, dataIdx: nearestJudged, drag: { x: true, y: false } },
      scales: {
        x: { time: false, range: (chart, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
        y: { range: (chart) => shownRange(chart, curves, along) },
      },
      axes: [
        axis(along === 'steps' ? 'step' : 'seconds of training', 32),
        axis(`${score.title}${unit}, ${score.higherIsBetter ? 'higher' : 'lower'} is better`, ySize),
      ],
      series: [
        {},
        ...losses.map((loss, index) => ({
          label: loss.spec,
          show: !hidden.has(index),
          spanGaps: true,
          width: 2,
          dash: index >= DASHED_FROM ? [7, 4] : undefined,
          stroke: () => cssColour(`--loss-${loss.colour}`),
          points: { show: curves[index].steps.length <= 24, size: 6, fill: () => cssColour(`--loss-${loss.colour}`) },
        })),
      ],
      hooks: {
        drawAxes: [(chart) => drawBands(chart, curves, along, losses)],
        draw: [(chart) => drawEndLabels(chart, curves, along, losses)],
        setCursor: [(chart) => onPoint(chart, along)],
      },
    },
    chartTable(curves, along),
    box,
  );
}

function startCurves(data) {
  const select = byId('curve-score');
  if (!select) return;
  const boxes = { steps: byId('chart-steps'), seconds: byId('chart-seconds') };
  const hidden = new Set();
  let charts = [];
  let score = data.scores[0];

  function showReading(loss, value) {
    const unit = score.unit ? ` ${score.unit}` : '';
    readings[loss].textContent = value == null ? '' : formatNumber(value, score.digits) + unit;
  }

  function showEnd() {
    byId('curve-moment').textContent = 'At the end of training';
    score.curves.forEach((curve, loss) => showReading(loss, curve.mean[curve.mean.length - 1]));
  }

  function showPoint(chart, along) {
    if (chart.cursor.left === undefined || chart.cursor.left < 0) {
      showEnd();
      return;
    }
    const x = chart.posToVal(chart.cursor.left, 'x');
    byId('curve-moment').textContent =
      along === 'steps' ? `Evaluation nearest to step ${Math.round(x)}` : `Evaluation nearest to ${formatSeconds(x)}`;
    score.curves.forEach((curve, loss) => {
      const place = nearestJudged(chart, loss + 1, null, x);
      showReading(loss, place === null ? null : chart.data[loss + 1][place]);
    });
  }

  function showScore() {
    score = data.scores.find((one) => one.key === select.value) || data.scores[0];
    charts.forEach((chart) => chart.destroy());
    charts = Object.entries(boxes).map(([along, box]) => {
      box.setAttribute('aria-label', `${score.title} over ${along}; the values at the end are listed below`);
      return makeChart(box, along, score, data.losses, hidden, showPoint);
    });
    byId('curve-direction').textContent = score.higherIsBetter ? '\u2191 higher is better' : '\u2193 lower is better';
    const home = score.home.map((loss) => data.losses[loss].spec).join(' and ');
    byId('curve-home').hidden = !home;
    byId('curve-home').textContent = `Home judge, without a vote, of ${home}.`;
    showEnd();
  }

  const readings = makeLegend(data.losses, hidden, () => charts);
  showScore();
  select.addEventListener('change', showScore);
  followPage(() => charts, boxes.steps);
}

/* ---------- Pictures ---------- */

function colourTable(colours) {
  /* Interpolate 256 colours between the given ones, which are evenly spaced. */
  const steps = colours.map((colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)));
  return Array.from({ length: 256 }, (unused, level) => {
    const place = (level / 255) * (steps.length - 1);
    const left = Math.min(Math.floor(place), steps.length - 2);
    return steps[left].map((from, channel) => Math.round(from + (place - left) * (steps[left + 1][channel] - from)));
  });
}

function drawError(canvas, truth, picture, scale, colours) {
  /* Draw the absolute difference, averaged over channels, and return its mean over the picture (in [0, 1]). */
  const size = canvas.width;
  const read = (from) => from.getContext('2d').getImageData(0, 0, size, size).data;
  const [right, actual] = [read(truth), read(picture)];
  const map = new ImageData(size, size);
  let sum = 0;
  for (let at = 0; at < right.length; at += 4) {
    let difference = 0;
    for (let channel = 0; channel < 3; channel += 1) difference += Math.abs(right[at + channel] - actual[at + channel]);
    const error = difference / 3 / 255;
    sum += error;
    map.data.set(colours[Math.min(255, Math.round((error / scale) * 255))], at);
    map.data[at + 3] = 255;
  }
  canvas.getContext('2d').putImageData(map, 0, 0);
  return sum / (size * size);
}

function makeCanvas(size, label) {
  const canvas = element('canvas');
  canvas.width = size;
  canvas.height = size;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  canvas.getContext('2d', { willReadFrequently: true });
  return canvas;
}

function makeTile(size, className, label) {
  const tile = element('div', `tile ${className}`);
  tile.append(makeCanvas(size, label));
  return tile;
}

function makeErrorTile(size, className, label) {
  const tile = makeTile(size, className, label);
  tile.append(element('small'));
  return tile;
}

function drawTile(tile, sprite, size, column, row) {
  const canvas = tile.querySelector('canvas');
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, size, size);
  context.drawImage(sprite, column * size, row * size, size, size, 0, 0, size, size);
  return canvas;
}

function imageLoader() {
  /* A cache of decoded sprites. */
  const loaded = new Map();
  return function load(uri) {
    if (!loaded.has(uri)) {
      const image = new Image();
      image.src = uri;
      loaded.set(uri, image.decode().then(() => image));
    }
    return loaded.get(uri);
  };
}

function snapshotAt(trial, step) {
  /* The trial's last snapshot at or before `step`, or its first one. */
  const past = trial.snapshots.filter((snapshot) => snapshot.step <= step);
  return past.length ? past[past.length - 1] : trial.snapshots[0];
}

function stepsOf(trials) {
  const steps = new Set(trials.flatMap((trial) => trial.snapshots.map((snapshot) => snapshot.step)));
  return [...steps].sort((first, second) => first - second);
}

function labelColumn() {
  const column = element('div', 'picture-column labels');
  column.append(element('div', 'head'));
  for (const [className, name] of [
    ['', 'Reconstruc\u00adtion'],
    ['', 'Its error'],
    ['swap', 'Swap'],
    ['swap-error', 'Its error'],
  ]) {
    column.append(element('div', `line-name ${className}`, name));
  }
  return column;
}

function truthColumn(size) {
  const column = element('div', 'picture-column truth');
  column.append(
    element('div', 'head'),
    makeTile(size, 'frame', 'Held-out frame'),
    element('div', 'tile caption', 'held-out frame'),
    makeTile(size, 'exact-swap swap', 'Exact swap'),
    element('div', 'tile no-swap swap', 'no exact swap known'),
    element('div', 'tile caption swap-error', 'exact swap'),
  );
  return column;
}

function lossColumn(losses, index, size) {
  const column = element('div', 'picture-column');
  const head = element('div', 'head');
  head.append(lossName(losses, index), element('span', 'when'));
  const spec = losses[index].spec;
  column.append(
    head,
    makeTile(size, 'reconstruction', `Reconstruction, ${spec}`),
    makeErrorTile(size, 'reconstruction-error', `Error of the reconstruction, ${spec}`),
    makeTile(size, 'swap', `Swap, ${spec}`),
    makeErrorTile(size, 'swap-error', `Error of the swap, ${spec}`),
  );
  return column;
}

function makeThumbnails(data, truth, onChoice) {
  data.rows.forEach((row, index) => {
    const label = element('label');
    const radio = element('input');
    radio.type = 'radio';
    radio.name = 'frame';
    radio.value = String(index);
    radio.checked = index === 0;
    radio.addEventListener('change', () => onChoice(index));
    const canvas = makeCanvas(data.size, '');
    canvas.setAttribute('aria-hidden', 'true');
    canvas.getContext('2d').drawImage(truth, 0, index * data.size, data.size, data.size, 0, 0, data.size, data.size);
    label.append(radio, canvas, element('span', '', `${row.source} ${row.frameName}`));
    byId('thumbnails').append(label);
  });
}

async function startPictures(data) {
  const grid = byId('picture-grid');
  if (!grid) return;
  const load = imageLoader();
  const colours = colourTable(data.errorColours);
  const truth = await load(data.truth);
  const [slider, output, play, seedChoice] = ['moment', 'moment-text', 'play', 'seed'].map(byId);
  const truths = truthColumn(data.size);
  const columns = data.losses.map((loss, index) => lossColumn(data.losses, index, data.size));
  grid.append(labelColumn(), truths, ...columns);
  let row = 0;
  let trials = [];
  let steps = [];
  let drawing = 0; // Counts drawings: one that is outdated when its pictures are decoded is dropped.
  let timer = null;

  function drawTruth() {
    const shown = data.rows[row];
    const head = truths.querySelector('.head');
    head.replaceChildren('Truth', element('span', 'when', `${shown.source} ${shown.frameName}`));
    drawTile(truths.querySelector('.frame'), truth, data.size, 0, row);
    drawTile(truths.querySelector('.exact-swap'), truth, data.size, 1, row);
    truths.querySelector('.exact-swap').hidden = !shown.exactSwap;
    truths.querySelector('.no-swap').hidden = shown.exactSwap;
    grid.classList.toggle('no-exact-swap', !shown.exactSwap);
    grid.style.setProperty('--lines', shown.exactSwap ? 4 : 3);
    const swapName = grid.querySelector('.line-name.swap');
    swapName.replaceChildren('Swap ', element('small', '', `${shown.source} \u2192 ${shown.target}`));
  }

  function drawErrorTile(column, kind, picture, truthClass) {
    const tile = column.querySelector(`.${kind}`);
    const truthCanvas = truths.querySelector(`.${truthClass} canvas`);
    const mean = drawError(tile.querySelector('canvas'), truthCanvas, picture, data.errorScale, colours);
    tile.querySelector('small').textContent = mean.toFixed(3);
  }

  function drawLoss(column, snapshot, sprite) {
    const reconstruction = drawTile(column.querySelector('.reconstruction'), sprite, data.size, 0, row);
    const swap = drawTile(column.querySelector('.swap'), sprite, data.size, 1, row);
    drawErrorTile(column, 'reconstruction-error', reconstruction, 'frame');
    if (data.rows[row].exactSwap) drawErrorTile(column, 'swap-error', swap, 'exact-swap');
    column.querySelector('.when').textContent = `step ${snapshot.step} \u00b7 ${formatSeconds(snapshot.seconds)}`;
  }

  async function draw() {
    drawing += 1;
    const mine = drawing;
    const step = steps[Number(slider.value)];
    const moments = trials.map((trial) => snapshotAt(trial, step));
    const sprites = await Promise.all(moments.map((moment) => load(moment.sprite)));
    if (mine !== drawing) return;
    drawTruth();
    trials.forEach((trial, index) => drawLoss(columns[trial.loss], moments[index], sprites[index]));
    grid.dataset.drawnStep = String(step);
  }

  function showMoment() {
    const step = steps[Number(slider.value)];
    output.textContent = `step ${step}`;
    slider.setAttribute('aria-valuetext', `step ${step} of ${steps[steps.length - 1]}`);
    return draw();
  }

  function showSeed() {
    const seed = seedChoice ? Number(seedChoice.value) : data.trials[0].seed;
    trials = data.trials.filter((trial) => trial.seed === seed);
    steps = stepsOf(trials);
    const present = new Set(trials.map((trial) => trial.loss));
    columns.forEach((column, loss) => { column.hidden = !present.has(loss); });
    grid.style.setProperty('--losses', present.size);
    slider.max = String(steps.length - 1);
    slider.value = slider.max;
    slider.disabled = steps.length < 2;
    play.disabled = steps.length < 2;
    return showMoment();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.classList.remove('playing');
    play.setAttribute('aria-label', 'Play the training');
  }

  function advance() {
    slider.value = String(Number(slider.value) + 1);
    showMoment();
    if (slider.value === slider.max) stop();
  }

  function start() {
    if (slider.value === slider.max) {
      slider.value = '0';
      showMoment();
    }
    timer = setInterval(advance, PLAY_MILLISECONDS);
    play.classList.add('playing');
    play.setAttribute('aria-label', 'Pause');
  }

  slider.addEventListener('input', () => {
    stop();
    showMoment();
  });
  play.addEventListener('click', () => (timer === null ? start() : stop()));
  if (seedChoice) seedChoice.addEventListener('change', () => { stop(); showSeed(); });
  makeThumbnails(data, truth, (index) => {
    row = index;
    draw();
  });
  await showSeed();
}

function main() {
  const data = JSON.parse(byId('report-data').textContent);
  document.querySelectorAll('.with-script').forEach((part) => { part.hidden = false; });
  startCurves(data);
  startPictures(data);
}

main();
