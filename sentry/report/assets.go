package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

type asset struct {
	data []byte
	mime string
	etag string
}

func loadAssets() (map[string]asset, error) {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	out := map[string]asset{}
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		return nil, fmt.Errorf("page assets: %w", err)
	}
	for _, e := range entries {
		mime, ok := types[path.Ext(e.Name())]
		if !ok {
			continue
		}
		data, err := fs.ReadFile(assets, "assets/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("page assets: %w", err)
		}
		sum := sha256.Sum256(data)
		out[e.Name()] = asset{data, mime, `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return out, nil
}

func (p *Page) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := p.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.mime)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.data)
}
