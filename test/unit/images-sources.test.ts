// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { parseSources, sourcesForSuite } from '../../images/apt-sources.js';

const DEB822 = `# a comment
Types: deb deb-src
URIs: http://one.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/some.gpg

Types: deb
URIs: http://one.example/debian-security
Suites: bookworm-security
Components: main
# Enabled: no

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main
`;

const ONE_LINE = `# deb http://commented.example/debian bookworm main
deb [signed-by=/k.gpg arch=amd64] http://two.example/debian bookworm main non-free # why
deb http://two.example/debian bookworm-updates contrib
deb https://vendor.example/apt cloud-bookworm main
deb-src http://two.example/debian bookworm main
`;

describe('images: apt sources', () => {
  it('reads deb822 stanzas: continued lines, comments, disabled and source-only ones', () => {
    expect(sourcesForSuite(parseSources('debian.sources', DEB822), 'bookworm')).to.deep.equal([
      'deb http://one.example/debian bookworm main',
      'deb http://one.example/debian bookworm-updates main',
      'deb http://one.example/debian-security bookworm-security main',
    ]);
  });

  it('reads one-line sources and leaves out what is not Debian main of the suite', () => {
    expect(sourcesForSuite(parseSources('sources.list', ONE_LINE), 'bookworm')).to.deep.equal([
      'deb http://two.example/debian bookworm main',
    ]);
  });

  it('is empty on a host of another release, even with a stray updates entry', () => {
    expect(sourcesForSuite(parseSources('debian.sources', DEB822), 'trixie')).to.deep.equal([]);
    const stray = parseSources('x.list', 'deb http://a.example bookworm-updates main\n');
    expect(sourcesForSuite(stray, 'bookworm')).to.deep.equal([]);
  });

  it('names each source once', () => {
    const twice = parseSources('x.list', 'deb http://a.example bookworm main\n'.repeat(2));
    expect(sourcesForSuite(twice, 'bookworm')).to.have.length(1);
  });
});
