// Reads 10 KB of JSON, changes every entry, and answers it: what an interface does most of the day.
export default {
  async fetch(request) {
    const { entries } = await request.json();
    const changed = entries.map(({ id, name, tags }) => ({ id: id + 1, name: name.toUpperCase(), tags: tags.slice().sort() }));
    return Response.json({ entries: changed, count: changed.length });
  },
};
