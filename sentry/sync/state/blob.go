package state

import (
	"crypto/sha1" //nolint:gosec // the name that git gives to content
	"encoding/hex"
	"strconv"
)

// Blob is the hash of a file's content.
func Blob(data []byte) Hash {
	h := sha1.New() //nolint:gosec // see above
	h.Write(append(strconv.AppendInt([]byte("blob "), int64(len(data)), 10), 0))
	h.Write(data)
	return Hash(hex.EncodeToString(h.Sum(nil)))
}
