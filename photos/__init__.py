"""Where photos come from: folders, files, lists, archives, addresses. Lazily, with bounded memory."""
