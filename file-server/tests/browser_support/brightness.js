(() => {
    // The relative luminance (WCAG 2) of the page's background, and of what is written on it.
    const luminance = color => {
        const linear = part => (part <= 10.31475 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
        const [red, green, blue] = color.match(/[\d.]+/g).slice(0, 3).map(part => linear(Number(part)));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const color = (element, property) => luminance(getComputedStyle(element)[property]);
    // Without a color of its own the page has that of the canvas, which only an element that is given it can tell.
    document.body.style.backgroundColor = 'Canvas';
    const texts = document.querySelectorAll('h1, a, td.size data, td.time time, footer');
    return [color(document.body, 'backgroundColor'), ...[...texts].map(text => color(text, 'color'))];
})()
