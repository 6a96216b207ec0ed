-- For `who changed this name?`.
CREATE INDEX change_items_by_name ON change_items (zone, name, revision);
