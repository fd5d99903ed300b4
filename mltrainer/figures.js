// Figures, drawn in the form that fits: what is narrower than a tablet gets a figure's phone form, where it has one.
const narrow = matchMedia("(max-width: 600px)");
const draw = (chart, figure) => {
  const { data, layout } = narrow.matches && figure.phone ? { data: figure.data, ...figure.phone } : figure;
  chart.style.height = `${layout.height}px`;  // its place is there before it is
  return Plotly.react(chart, data, structuredClone(layout), figure.config);
};
