"""Small files as the programs that researchers use write them."""

from __future__ import annotations

ABSTRACT = (
    "The dominant sequence transduction models are based on complex recurrent networks. "
    "We propose the Transformer, based solely on attention."
)

ZOTERO_BIBTEX = r"""
@inproceedings{vaswani_attention_2017,
	title = {Attention is {All} you {Need}},
	volume = {30},
	url = {https://proceedings.neurips.cc/paper/7181},
	abstract = {The dominant sequence transduction models are based on complex recurrent networks. We propose the Transformer, based solely on attention.},
	urldate = {2024-03-02},
	booktitle = {Advances in {Neural} {Information} {Processing} {Systems}},
	publisher = {Curran Associates, Inc.},
	author = {Vaswani, Ashish and Shazeer, Noam and Kaiser, {\L}ukasz},
	year = {2017},
}

@article{muller_10_2020,
	title = {10\% of {M{\"u}ller}'s {Co}$_{2}$ {\textbackslash}\& {\'E}tudes},
	volume = {12},
	doi = {10.1000/xyz123},
	abstract = {We improve by 10{\%} over M{\"u}ller \& co., at a cost of \$5. \emph{Code}: https://github.com/mueller/etudes.},
	journal = {Journal of Caf{\'e} Studies},
	author = {M{\"u}ller, J{\"o}rg and van der Berg, Jr., Jan and {The ATLAS Collaboration} and others},
	month = jun,
	year = {2020},
	keywords = {coffee, {\'e}tudes},
}
"""  # noqa: E501 - as exported

ARXIV_BIBTEX = """@misc{vaswani2023attention,
      title={Attention Is All You Need},
      author={Ashish Vaswani and Noam Shazeer},
      year={2023},
      eprint={1706.03762},
      archivePrefix={arXiv},
      primaryClass={cs.CL},
      abstract={We propose the Transformer.},
}
"""

ZOTERO_RIS = f"""TY  - CONF
TI  - Attention is All you Need
AU  - Vaswani, Ashish
AU  - Shazeer, Noam
AU  - King, Martin Luther, Jr.
T2  - Advances in Neural Information Processing Systems
AB  - {ABSTRACT}
DA  - 2017///
PY  - 2017
VL  - 30
UR  - https://proceedings.neurips.cc/paper/7181
Y2  - 2024/03/02/
KW  - attention
KW  - translation
ER  - 

TY  - JOUR
T1  - Études of coffee
A1  - Müller, Jörg
Y1  - 2020/06//
JF  - Journal of Café Studies
N2  - We improve by 10%.
DO  - 10.1000/xyz123
ER  - 
"""  # noqa: W291 - as exported

ZOTERO_CSL_JSON = """[
	{
		"id": "http://zotero.org/users/1/items/ABCD1234",
		"type": "paper-conference",
		"abstract": "We propose the Transformer, based solely on attention.",
		"container-title": "Advances in Neural Information Processing Systems",
		"title": "Attention is All you Need",
		"URL": "https://proceedings.neurips.cc/paper/7181",
		"volume": "30",
		"author": [
			{"family": "Vaswani", "given": "Ashish"},
			{"family": "Berg", "given": "Jan", "non-dropping-particle": "van der"},
			{"literal": "The ATLAS Collaboration"}
		],
		"accessed": {"date-parts": [["2024", 3, 2]]},
		"issued": {"date-parts": [["2017", 6, 12]]}
	},
	{
		"id": "http://zotero.org/users/1/items/EFGH5678",
		"type": "article-journal",
		"abstract": "We improve by 10%.",
		"DOI": "10.1000/xyz123",
		"title": "Études of coffee",
		"author": [{"family": "Müller", "given": "Jörg"}],
		"issued": {"date-parts": [["2020"]]}
	}
]
"""

ZOTERO_CSV = (
    '\ufeff"Key","Item Type","Publication Year","Author","Title","Publication Title","ISBN","ISSN",'
    '"DOI","Url","Abstract Note","Date","Date Added","Pages","Manual Tags"\n'
    '"ABCD1234","conferencePaper","2017","Vaswani, Ashish; Shazeer, Noam",'
    '"Attention is All you Need","Advances in Neural Information Processing Systems","","","",'
    '"https://proceedings.neurips.cc/paper/7181",'
    f'"{ABSTRACT}","2017","2024-03-02 10:00:00","","attention"\n'
)

ARXIV_SNAPSHOT = (
    '{"id":"0704.0001","submitter":"Pavel Nadolsky","authors":"C. Bal\\\\\'azs, E. L. Berger, '
    'P. M. Nadolsky, C.-P. Yuan","title":"Calculation of prompt diphoton production cross sections '
    'at Tevatron and\\n  LHC energies","comments":"37 pages, 15 figures; published version",'
    '"journal-ref":"Phys.Rev.D76:013009,2007","doi":"10.1103/PhysRevD.76.013009",'
    '"report-no":"ANL-HEP-PR-07-12","categories":"hep-ph","license":null,'
    '"abstract":"  A fully differential calculation in perturbative quantum chromodynamics is\\n'
    "presented for the production of massive photon pairs.\\n  Good agreement is shown with\\ndata "
    'from the Fermilab Tevatron.\\n","versions":[{"version":"v1","created":"Mon, 2 Apr 2007 '
    '19:18:42 GMT"},{"version":"v2","created":"Tue, 24 Jul 2008 20:10:27 GMT"}],'
    '"update_date":"2008-11-26","authors_parsed":[["Balázs","C.",""],["Berger","E. L.",""],'
    '["King","M. L.","Jr."]]}\n'
)

ARXIV_ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <link href="http://arxiv.org/api/query?search_query=all" rel="self" type="application/atom+xml"/>
  <title type="html">ArXiv Query: search_query=all:transformer</title>
  <id>http://arxiv.org/api/cHxbiOdZaP56ODnBPIenZhzg5f8</id>
  <updated>2024-03-02T00:00:00-05:00</updated>
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">2</opensearch:totalResults>
  <entry>
    <id>http://arxiv.org/abs/1706.03762v7</id>
    <updated>2023-08-02T00:41:18Z</updated>
    <published>2017-06-12T17:57:34Z</published>
    <title>Attention Is All
  You Need</title>
    <summary>  The dominant sequence transduction models are based on complex
recurrent networks.
  We propose the Transformer &amp; more.
</summary>
    <author><name>Ashish Vaswani</name></author>
    <author><name>Noam Shazeer</name></author>
    <arxiv:comment xmlns:arxiv="http://arxiv.org/schemas/atom">15 pages, 5 figures</arxiv:comment>
    <link href="http://arxiv.org/abs/1706.03762v7" rel="alternate" type="text/html"/>
    <link title="pdf" href="http://arxiv.org/pdf/1706.03762v7" rel="related"/>
    <arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.CL"/>
    <category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>
    <category term="cs.LG" scheme="http://arxiv.org/schemas/atom"/>
  </entry>
  <entry>
    <id>http://arxiv.org/abs/hep-ex/0307015v1</id>
    <published>2003-07-07T13:46:39Z</published>
    <title>Multi-Electron Production at High Transverse Momenta</title>
    <summary>Multi-electron production is studied.</summary>
    <author><name>H1 Collaboration</name></author>
    <arxiv:doi xmlns:arxiv="http://arxiv.org/schemas/atom">10.1140/epjc/s2003-01326-x</arxiv:doi>
    <arxiv:journal_ref xmlns:arxiv="http://arxiv.org/schemas/atom">Eur.Phys.J. C31 (2003) 17-29</arxiv:journal_ref>
  </entry>
</feed>
"""  # noqa: E501 - as served

ARXIV_OAI = """<?xml version="1.0" encoding="UTF-8"?>
<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<responseDate>2024-03-02T00:00:00Z</responseDate>
<request verb="ListRecords" metadataPrefix="arXiv">http://export.arxiv.org/oai2</request>
<ListRecords>
<record>
<header><identifier>oai:arXiv.org:0704.0004</identifier><datestamp>2007-05-23</datestamp><setSpec>math</setSpec></header>
<metadata>
 <arXiv xmlns="http://arxiv.org/OAI/arXiv/">
 <id>0704.0004</id><created>2007-03-30</created>
 <authors><author><keyname>Callan</keyname><forenames>David</forenames></author></authors>
 <title>A determinant of Stirling cycle numbers counts unlabeled acyclic
  single-source automata</title>
 <categories>math.CO math.NT</categories><comments>11 pages</comments>
 <abstract>  We show that a determinant of Stirling cycle numbers counts unlabeled
acyclic single-source automata.
</abstract></arXiv>
</metadata>
</record>
<record>
<header status="deleted"><identifier>oai:arXiv.org:0704.0005</identifier></header>
</record>
<resumptionToken cursor="0" completeListSize="2">x|1001</resumptionToken>
</ListRecords>
</OAI-PMH>
"""

DUBLIN_CORE = """<?xml version="1.0"?>
<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><ListRecords><record>
<header><identifier>oai:arXiv.org:0704.0002</identifier></header>
<metadata><oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>Sparsity-certifying Graph Decompositions</dc:title>
<dc:creator>Streinu, Ileana</dc:creator><dc:creator>Theran, Louis</dc:creator>
<dc:subject>Mathematics - Combinatorics</dc:subject>
<dc:description>We describe a new algorithm, the pebble game.</dc:description>
<dc:description>Comment: To appear</dc:description>
<dc:date>2008-12-13</dc:date><dc:date>2007-03-30</dc:date>
<dc:identifier>http://arxiv.org/abs/0704.0002</dc:identifier>
</oai_dc:dc></metadata></record></ListRecords></OAI-PMH>
"""

PUBMED_NBIB = """PMID- 38012345
OWN - NLM
STAT- MEDLINE
DCOM- 20240115
IS  - 1476-4687 (Electronic)
VI  - 624
DP  - 2023 Dec 14
TI  - Deep learning for chest radiographs: a randomised trial in
      three hospitals.
PG  - 100-107
LID - 10.1038/s41586-023-00001-1 [doi]
AB  - BACKGROUND: Radiographs are read by few. METHODS: We randomised 300 patients (1:1)
      to two arms. RESULTS: Sensitivity rose by 4%.
FAU - Moreau, Ida
AU  - Moreau I
AD  - Department of Radiology, Lyon.
FAU - Zhao, Wen
AU  - Zhao W
CN  - The CHEST Group
LA  - eng
PT  - Journal Article
JT  - Nature
MH  - *Deep Learning
MH  - Humans
OT  - radiography
AID - s41586-023-00001-1 [pii]
AID - 10.1038/s41586-023-00001-1 [doi]
SO  - Nature. 2023 Dec 14;624:100-107.

PMID- 38012346
DP  - 1998 Dec-1999 Jan
TI  - Another title.
AB  - Another abstract.
AU  - Smith JA
TA  - Lancet
"""

PUBMED_XML = """<?xml version="1.0" ?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2024//EN" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_240101.dtd">
<PubmedArticleSet>
<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">38012345</PMID>
<Article PubModel="Print"><Journal><JournalIssue CitedMedium="Internet"><PubDate><Year>2023</Year><Month>Dec</Month></PubDate></JournalIssue><Title>Nature</Title></Journal>
<ArticleTitle>Deep learning for <i>chest</i> radiographs.</ArticleTitle>
<ELocationID EIdType="doi" ValidYN="Y">10.1038/s41586-023-00001-1</ELocationID>
<Abstract><AbstractText Label="BACKGROUND">Radiographs are read by few.</AbstractText>
<AbstractText Label="RESULTS" NlmCategory="RESULTS">CO<sub>2</sub> fell by 4%.</AbstractText><CopyrightInformation>© 2023</CopyrightInformation></Abstract>
<AuthorList CompleteYN="Y"><Author ValidYN="Y"><LastName>Moreau</LastName><ForeName>Ida</ForeName><Initials>I</Initials></Author>
<Author ValidYN="Y"><CollectiveName>The CHEST Group</CollectiveName></Author></AuthorList></Article>
<MeshHeadingList><MeshHeading><DescriptorName UI="D1">Humans</DescriptorName></MeshHeading></MeshHeadingList>
<KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">radiography</Keyword></KeywordList></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">38012345</ArticleId></ArticleIdList>
<ReferenceList><Reference><ArticleIdList><ArticleId IdType="doi">10.9999/other</ArticleId></ArticleIdList></Reference></ReferenceList></PubmedData>
</PubmedArticle>
<PubmedArticle><MedlineCitation><PMID>2</PMID><Article><Journal><JournalIssue><PubDate><MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue></Journal>
<ArticleTitle>Another title.</ArticleTitle><Abstract><AbstractText>Another abstract.</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>
</PubmedArticleSet>
"""  # noqa: E501 - as served

BILLION_LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE feed [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>
<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>&lol2;</title></entry></feed>
"""  # noqa: E501

EXTERNAL_ENTITY = """<?xml version="1.0"?>
<!DOCTYPE feed [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>&secret;</title></entry></feed>
"""
