// What somebody asked to save, from the answer itself: {n, name, data} or {n, copy}.
watch("value", async () => {
  const value = props.value;
  if (!value) return;
  if (value.data) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await (await fetch(value.data)).blob());
    link.download = value.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  if (value.copy !== undefined) {
    const whole = new URL(value.copy, location.href).href;
    try {
      await navigator.clipboard.writeText(whole);
    } catch {
      window.prompt("The link:", whole); // no clipboard without https
    }
  }
});
