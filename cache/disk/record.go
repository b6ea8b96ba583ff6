package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	hashSize = sha256.Size
	tagSize  = 32
)

// content is a record as it is sealed: what it shares with others is named by its SHA-256.
type content struct {
	value   []byte
	shared  [][hashSize]byte
	tags    [][tagSize]byte
	expires time.Time
}

// contentOf returns what is sealed of a record.
func contentOf(record *Record) content {
	c := content{value: record.Value, tags: record.Tags, expires: record.Expires}
	for _, blob := range record.Shared {
		c.shared = append(c.shared, sha256.Sum256(blob))
	}
	return c
}

// encode writes: the second and the nanosecond of expires (a nanosecond that no second has: never), the number of hashes
// and they, the number of tags and they, and the rest is the value.
func (c *content) encode() []byte {
	encoded := make([]byte, 0, 12+2*binary.MaxVarintLen32+(len(c.shared)+len(c.tags))*hashSize+len(c.value))
	if c.expires.IsZero() {
		encoded = binary.BigEndian.AppendUint64(encoded, 0)
		encoded = binary.BigEndian.AppendUint32(encoded, never)
	} else {
		encoded = binary.BigEndian.AppendUint64(encoded, uint64(c.expires.Unix()))
		encoded = binary.BigEndian.AppendUint32(encoded, uint32(c.expires.Nanosecond()))
	}
	encoded = appendHashes(encoded, c.shared)
	encoded = appendHashes(encoded, c.tags)
	return append(encoded, c.value...)
}

const never = 1 << 31

func appendHashes(encoded []byte, hashes [][hashSize]byte) []byte {
	encoded = binary.AppendUvarint(encoded, uint64(len(hashes)))
	for i := range hashes {
		encoded = append(encoded, hashes[i][:]...)
	}
	return encoded
}

// decodeContent reads what encode wrote. The value is a part of encoded.
func decodeContent(encoded []byte) (content, error) {
	if len(encoded) < 12 {
		return content{}, errDamaged
	}
	var c content
	second, nanosecond := binary.BigEndian.Uint64(encoded), binary.BigEndian.Uint32(encoded[8:])
	switch {
	case nanosecond < uint32(time.Second):
		c.expires = time.Unix(int64(second), int64(nanosecond))
	case nanosecond != never || second != 0:
		return content{}, errDamaged
	}
	var err error
	rest := encoded[12:]
	if c.shared, rest, err = decodeHashes(rest); err != nil {
		return content{}, err
	}
	if c.tags, rest, err = decodeHashes(rest); err != nil {
		return content{}, err
	}
	c.value = rest
	return c, nil
}

func decodeHashes(encoded []byte) ([][hashSize]byte, []byte, error) {
	count, width := binary.Uvarint(encoded)
	if width <= 0 || count > uint64(len(encoded)-width)/hashSize {
		return nil, nil, errDamaged
	}
	encoded = encoded[width:]
	if count == 0 {
		return nil, encoded, nil
	}
	hashes := make([][hashSize]byte, count)
	for i := range hashes {
		encoded = encoded[copy(hashes[i][:], encoded):]
	}
	return hashes, encoded, nil
}

// tagKey is where it is kept that a key has a tag.
func tagKey(tag [tagSize]byte, key string) []byte {
	return append(append(make([]byte, 0, tagSize+len(key)), tag[:]...), key...)
}

// record reads a record, nil if it isn't there.
func (v *view) record(seal sealer, key string) (*Record, error) {
	sealed, err := v.content(seal, key)
	if sealed == nil || err != nil {
		return nil, err
	}
	record := &Record{Key: key, Value: sealed.value, Tags: sealed.tags, Expires: sealed.expires}
	for i := range sealed.shared {
		blob, err := v.blob(seal, sealed.shared[i])
		if err != nil {
			return nil, err
		}
		record.Shared = append(record.Shared, blob)
	}
	return record, nil
}

// content reads a record without what it shares, nil if it isn't there.
func (v *view) content(seal sealer, key string) (*content, error) {
	var opened *content
	_, err := v.get(recordBucket, []byte(key), func(sealed []byte) error {
		plain, err := seal.open(recordBucket, []byte(key), sealed)
		if err != nil {
			return err
		}
		decoded, err := decodeContent(plain)
		opened = &decoded
		return err
	})
	return opened, err
}

// blob reads what is shared under a hash. That it isn't there is damage: a record needs it.
func (v *view) blob(seal sealer, hash [hashSize]byte) ([]byte, error) {
	var plain []byte
	found, err := v.get(sharedBucket, hash[:], func(sealed []byte) (err error) {
		plain, err = seal.open(sharedBucket, hash[:], sealed)
		return err
	})
	if err == nil && (!found || sha256.Sum256(plain) != hash) {
		err = errDamaged
	}
	return plain, err
}
