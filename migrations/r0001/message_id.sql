-- The rule of worker/message_id.py, for rows that other programs wrote: trimmed, in brackets, the domain in lower case.
-- NULL for what cannot be a Message-ID. A property test holds the two against each other.
--
-- `blank` is what Python's str.strip() takes off. Under COLLATE "C" a range is one of code points and lower() touches
-- ASCII alone, whatever the database's locale.
CREATE OR REPLACE FUNCTION attribution_message_id(raw text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    blank CONSTANT text := E' \t\n\x0b\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
                           '\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';
    bare text := btrim(raw, blank);
BEGIN
    IF left(bare, 1) = '<' AND right(bare, 1) = '>' THEN
        bare := btrim(substr(bare, 2, length(bare) - 2), blank);
    END IF;
    IF length(bare) > 248 OR bare COLLATE "C" !~ '^[!-;=?-~]+$' THEN
        RETURN NULL;
    END IF;
    RETURN '<' || coalesce(substring(bare FROM '^.*@'), '') || lower(substring(bare FROM '[^@]*$') COLLATE "C") || '>';
END $$
