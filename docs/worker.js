// Browsers start no worker from a file:// page, so the search's worker runs in a frame there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc =
        `<script>
           self.importScripts = (...scripts) => scripts.reduce((before, each) => before.then(() =>
             new Promise((loaded, failed) => {
               const element = document.createElement("script")
               element.src = each
               element.onload = loaded
               element.onerror = failed
               document.body.append(element)
             })), Promise.resolve())
           self.postMessage = data => parent.dispatchEvent(
             new CustomEvent("worker:${script}", {detail: data}))
         <\/script>
         <body><script src="${script}"
           onload="parent.dispatchEvent(new Event('ready:${script}'))"><\/script></body>`
      addEventListener(`worker:${script}`, event => {
        const message = new MessageEvent("message", {data: event.detail})
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      })
      addEventListener(`ready:${script}`, () => {
        this.ready = true
        this.waiting.splice(0).forEach(data => this.postMessage(data))
      })
      const attach = () => document.body.append(this.frame)
      document.body ? attach() : addEventListener("DOMContentLoaded", attach)
    }
    postMessage(data) {
      if (this.ready) {
        const frame = this.frame.contentWindow
        frame.dispatchEvent(new frame.MessageEvent("message", {data}))
      } else this.waiting.push(data)
    }
    terminate() { this.frame.remove() }
  }
}
