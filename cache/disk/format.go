package disk

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// formatVersion is that of all that is in the file. It is bound into every seal.
const formatVersion = 1

const (
	formatMagic = "hellogate disk tier\n"
	saltSize    = 32
	formatSize  = len(formatMagic) + 2 + saltSize + 2*sumSize
)

var (
	formatKey = []byte("format")
	countKey  = []byte("count")
)

// format is the record that says how a file is to be read: the magic, the version, whether it is encrypted, the salt of its
// key, what tells the key, and a checksum of all that.
type format struct {
	salt  []byte
	check []byte
	// encrypted: with the key that check is of.
	encrypted bool
}

// newFormat is that of a new file.
func newFormat(secret []byte) (format, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	check, err := keyCheck(secret, salt)
	if err != nil {
		return format{}, fmt.Errorf("derive the disk tier's key: %w", err)
	}
	return format{salt: salt, check: check, encrypted: secret != nil}, nil
}

func (f format) encode() []byte {
	encoded := append([]byte(formatMagic), formatVersion, 0)
	if f.encrypted {
		encoded[len(encoded)-1] = 1
	}
	encoded = append(append(encoded, f.salt...), f.check...)
	digest := sha256.Sum256(encoded)
	return append(encoded, digest[:sumSize]...)
}

// decodeFormat reads a format record. The error says why the file can't be used.
func decodeFormat(encoded []byte) (format, error) {
	rest, ours := bytes.CutPrefix(encoded, []byte(formatMagic))
	if !ours || len(rest) < 2 {
		return format{}, corrupt("it does not say what format it has")
	}
	if rest[0] != formatVersion {
		return format{}, &unfit{fmt.Sprintf("it has the format %d, this version of hellogate reads %d", rest[0], formatVersion)}
	}
	body := len(encoded) - sumSize
	if len(encoded) != formatSize || rest[1] > 1 {
		return format{}, corrupt("its format record is damaged")
	}
	if digest := sha256.Sum256(encoded[:body]); !bytes.Equal(digest[:sumSize], encoded[body:]) {
		return format{}, corrupt("its format record is damaged")
	}
	return format{salt: rest[2 : 2+saltSize], check: rest[2+saltSize : 2+saltSize+sumSize], encrypted: rest[1] == 1}, nil
}

// unlock returns the sealer of a file, or the error why the key is not its key.
func (f format) unlock(secret []byte) (sealer, error) {
	switch {
	case f.encrypted && secret == nil:
		return sealer{}, &unfit{"it is encrypted, and no key file is configured"}
	case !f.encrypted && secret != nil:
		return sealer{}, &unfit{"it is not encrypted, and a key file is configured"}
	}
	check, err := keyCheck(secret, f.salt)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the disk tier's key: %w", err)
	}
	if subtle.ConstantTimeCompare(check, f.check) == 0 {
		return sealer{}, &unfit{"it is encrypted with another key than that of the configured key file"}
	}
	return newSealer(secret, f.salt)
}

// encodeCount and decodeCount write and read the number of records, which counting would take too long.
func encodeCount(seal sealer, count int) []byte {
	return seal.seal(metaBucket, countKey, binary.BigEndian.AppendUint64(nil, uint64(count)))
}

// decodeCount is 0 for what is damaged: it is only told, nothing hangs on it.
func decodeCount(seal sealer, sealed []byte) int {
	plain, err := seal.open(metaBucket, countKey, sealed)
	if err != nil || len(plain) != 8 {
		return 0
	}
	return int(binary.BigEndian.Uint64(plain))
}
