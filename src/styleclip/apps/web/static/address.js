// The address bar follows the picture, so a reload or a bookmark brings it back. value: {link}.
watch("value", () => {
  const link = props.value?.link;
  if (link !== undefined) history.replaceState(null, "", link || location.pathname);
});
