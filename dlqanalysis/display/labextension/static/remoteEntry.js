// What JupyterLab loads: a container as module federation has it, written by hand, since there is nothing to build.
// It shows application/vnd.dlqanalysis.table+json, and dresses the kit's charts. It asks nobody for anything else.

(() => {
  const MIME = 'application/vnd.dlqanalysis.table+json';
  const own = new URL('.', document.currentScript.src);
  let shared;

  /** A module that JupyterLab shares, in whichever version it has. */
  async function of(name) {
    return (await Object.values(shared[name])[0].get())();
  }

  async function extension() {
    const [{ Widget }, { built }, { watch }] = await Promise.all([
      of('@lumino/widgets'), import(new URL('table.js', own)), import(new URL('charts.js', own)),
    ]);
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = new URL('lab.css', own);
    document.head.append(link);
    watch();

    class Table extends Widget {
      constructor() {
        super();
        this.addClass('jp-RenderedHTMLCommon');
        this.node.dataset.lmSuppressShortcuts = 'true'; // what is typed into the filter is no command
      }

      async renderModel(model) {
        this.node.replaceChildren(built(model.data[MIME]));
      }
    }

    return {
      __esModule: true,
      default: [{
        id: 'dlqanalysis:table',
        rank: 0,
        dataType: 'json',
        rendererFactory: { safe: true, mimeTypes: [MIME], createRenderer: () => new Table() },
      }],
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.dlqanalysis = {
    init: scope => { shared = scope; },
    get: async () => {
      const made = await extension();
      return () => made;
    },
  };
})();
